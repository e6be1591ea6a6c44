"""Brings the networks' interfaces in the kernel to what is wanted.

An interface is known to be the agent's by its alias, which names the network. One that has the
name of a wanted interface is taken over whoever made it: nobody else has a use for the name.
"""

from __future__ import annotations

import logging
from typing import Final

from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.dhcp import device_messages as messages
from calico_openstack.dhcp.desired import DEVICE_PREFIX, Device, InterfaceAddress
from calico_openstack.dhcp.model import Problem
from calico_openstack.netlink.protocol import NETLINK_ROUTE, NLM_F_CREATE, NetlinkSocket
from calico_openstack.netlink.rtnetlink import (
    RtMessage,
    address_dump_request,
    link_dump_request,
)

_log = logging.getLogger(__name__)

_ALIAS: Final = "calico-dhcp "


class DeviceDriver:
    """Reconciles interfaces in the namespace in which it is made."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_ROUTE)
        self._indexes: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._tracker: DeltaTracker[str, Device] = DeltaTracker()
        self._outdated = True
        self.writes = 0

    def close(self) -> None:
        """Close the socket; interfaces stay."""
        self._socket.close()

    def want(self, network_id: str, device: Device | None) -> None:
        """State a network's interface, None for a network that needs none."""
        old = self._names.pop(network_id, None)
        if old is not None and (device is None or device.name != old):
            self._tracker.delete_desired(old)
        if device is not None:
            self._names[network_id] = device.name
            self._tracker.set_desired(device.name, device)

    def distrust(self) -> None:
        """Note that interfaces may have changed behind our back."""
        self._outdated = True

    def write(self) -> list[Problem]:
        """Make and correct the wanted interfaces; return what the kernel refused."""
        problems: list[Problem] = []
        try:
            if self._outdated or not self._tracker.in_sync:
                self._read()
            pending = dict(self._tracker.pending_updates)
            for device in pending.values():
                problems += self._write(device)
            if pending:
                self._read()
        except OSError as error:
            self._outdated = True
            problems.append(Problem("interfaces", "", f"cannot be read: {error}"))
        return problems

    def remove(self) -> list[Problem]:
        """Remove the interfaces that are not wanted any more."""
        problems = []
        for name in list(self._tracker.pending_deletions):
            _log.info("Removing the interface of a network without ports here: %s", name)
            body = messages.remove_link(self._indexes[name])
            problems += self._request(name, RtMessage.DELLINK, body)
            self._outdated = True
        return problems

    def _read(self) -> None:
        """Read the interfaces that are ours, or have the name of a wanted one."""
        links = {}
        for received in self._socket.dump(RtMessage.GETLINK, link_dump_request()):
            link = messages.parse_link(received.body)
            ours = link.alias.startswith(_ALIAS) or link.name in self._tracker.desired
            if link.name.startswith(DEVICE_PREFIX) and ours:
                links[link.index] = link
        addresses: dict[int, list[InterfaceAddress]] = {index: [] for index in links}
        for received in self._socket.dump(RtMessage.GETADDR, address_dump_request()):
            parsed = messages.parse_address(received.body)
            if parsed is not None and parsed[0] in addresses:
                addresses[parsed[0]].append(parsed[1])
        self._indexes = {link.name: index for index, link in links.items()}
        self._tracker.replace_actual(
            {
                link.name: Device(
                    name=link.name,
                    network_id=link.alias.removeprefix(_ALIAS) if link.up else "",
                    mtu=link.mtu,
                    addresses=tuple(sorted(addresses[index], key=_order)),
                )
                for index, link in links.items()
            }
        )
        self._outdated = False

    def _write(self, device: Device) -> list[Problem]:
        problems: list[Problem] = []
        name = device.name
        if name not in self._indexes:
            _log.info("Making the interface of a network: %s", name)
            flags = NLM_F_CREATE | messages.NLM_F_EXCL
            problems += self._request(name, RtMessage.NEWLINK, messages.create_bridge(name), flags)
            self._read()
            if name not in self._indexes:
                return problems
            # Refused where IPv6 is switched off, and then there is nothing to prevent.
            automatic = messages.without_automatic_addresses(self._indexes[name])
            self._request(name, RtMessage.NEWLINK, automatic)
        index = self._indexes[name]
        configuration = messages.configure_link(index, _ALIAS + device.network_id, device.mtu)
        problems += self._request(name, RtMessage.NEWLINK, configuration)
        actual = self._tracker.actual.get(name)
        present = set(actual.addresses) if actual is not None else set()
        # Additions first: clients may be talking to an address that stays.
        for wanted in device.addresses:
            if wanted not in present:
                body = messages.address(index, wanted)
                problems += self._request(f"{name} {wanted}", RtMessage.NEWADDR, body, NLM_F_CREATE)
        for unwanted in sorted(present - set(device.addresses), key=_order):
            body = messages.address(index, unwanted)
            problems += self._request(f"{name} {unwanted}", RtMessage.DELADDR, body)
        return problems

    def _request(self, subject: str, kind: RtMessage, body: bytes, flags: int = 0) -> list[Problem]:
        self.writes += 1
        try:
            self._socket.request(kind, body, flags)
        except OSError as error:
            return [Problem(f"interface {subject}", "", f"{kind.name} was refused: {error}")]
        return []


def _order(address: InterfaceAddress) -> tuple[int, bytes, int]:
    return address.version, address.ip.packed, address.network.prefixlen

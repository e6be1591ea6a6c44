"""Which workload interfaces exist, with which MTU, as the kernel tells (rtnetlink(7)).

Felix's own monitor hears routes and neighbours too, of which a host may have a hundred thousand;
this one hears links and addresses only.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from calico_openstack.dhcp.device_messages import parse_link
from calico_openstack.dhcp.inventory import Link
from calico_openstack.netlink.protocol import NETLINK_ROUTE, Message, NetlinkSocket
from calico_openstack.netlink.rtnetlink import RtGroup, RtMessage, link_dump_request

_GROUPS: Final = (RtGroup.LINK, RtGroup.IPV4_IFADDR, RtGroup.IPV6_IFADDR)
# struct ifaddrmsg: family, prefix length, flags, scope, index.
_ADDRESS_HEADER: Final = struct.Struct("=BBBBI")
_AF_UNSPEC: Final = 0


@dataclass(slots=True)
class LinkChanges:
    """What happened since the last look.

    *names* are workload interfaces that appeared, vanished or changed; *devices* says whether
    anything may have happened to the networks' own interfaces.
    """

    names: set[str] = field(default_factory=set)
    devices: bool = False


class LinkMonitor:
    """Keeps the table of interfaces whose names begin with *prefix* ("tap").

    Changes of interfaces whose names begin with *device_prefix* are noticed, but not kept.
    """

    def __init__(self, prefix: str, device_prefix: str) -> None:
        self._prefix = prefix
        self._device_prefix = device_prefix
        self._requests = NetlinkSocket(NETLINK_ROUTE)
        self._notifications = NetlinkSocket(NETLINK_ROUTE, groups=_GROUPS)
        self._names: dict[int, str] = {}
        self._links: dict[str, Link] = {}
        self._devices: set[int] = set()
        self.resync()

    @property
    def links(self) -> Mapping[str, Link]:
        """The interfaces by name, as of the last `read` or `resync`."""
        return self._links

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something changed."""
        return self._notifications.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._requests.close()
        self._notifications.close()

    def resync(self) -> LinkChanges:
        """Read all links anew; return what differs. Raises InterruptedError, see `dump`."""
        found = self._requests.dump(RtMessage.GETLINK, link_dump_request())
        before = dict(self._links)
        self._names.clear()
        self._links.clear()
        self._devices.clear()
        changes = LinkChanges(devices=True)
        for received in found:
            self._take(received, changes)
        names = before.keys() | self._links.keys()
        changes.names = {name for name in names if before.get(name) != self._links.get(name)}
        return changes

    def read(self) -> LinkChanges:
        """Take in all waiting notifications; return what they changed.

        Raises InterruptedError when some were lost and `resync` failed: call that again.
        """
        changes = LinkChanges()
        for received in self._notifications.notifications():
            if received is None:
                # Notifications were lost; what is there now is what counts.
                missed = self.resync()
                changes.names |= missed.names
                changes.devices = True
            else:
                self._take(received, changes)
        return changes

    def _take(self, received: Message, changes: LinkChanges) -> None:
        if received.kind in (RtMessage.NEWLINK, RtMessage.DELLINK):
            # Bridges report their ports in messages of their own family.
            if received.body[0] == _AF_UNSPEC:
                self._take_link(received, changes)
        elif received.kind in (RtMessage.NEWADDR, RtMessage.DELADDR):
            *_, index = _ADDRESS_HEADER.unpack_from(received.body)
            changes.devices = changes.devices or index in self._devices

    def _take_link(self, received: Message, changes: LinkChanges) -> None:
        link = parse_link(received.body)
        gone = received.kind == RtMessage.DELLINK
        old = self._names.get(link.index)
        if old is not None and (gone or old != link.name):
            del self._names[link.index]
            self._links.pop(old, None)
            changes.names.add(old)
        if link.name.startswith(self._device_prefix):
            changes.devices = True
            if gone:
                self._devices.discard(link.index)
            else:
                self._devices.add(link.index)
        elif link.name.startswith(self._prefix) and not gone:
            self._names[link.index] = link.name
            new = Link(link.name, link.mtu)
            if self._links.get(link.name) != new:
                self._links[link.name] = new
                changes.names.add(link.name)

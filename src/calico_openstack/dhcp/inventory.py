"""What is known at the moment, by network, and which networks it has changed for. Pure.

Everything is level-triggered: setting a value again changes nothing, order of arrival plays no
role, and what waits for something else (a port for its subnet or its interface) is taken up in the
pass in which that appears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from calico_openstack.dhcp.model import NetworkState, Port, Subnet
from calico_openstack.dhcp.reading import UNNAMED_NETWORK

# Below this an interface carries no IPv4 (RFC 791); the kernel allows less.
_MINIMUM_MTU: Final = 68


@dataclass(frozen=True, slots=True)
class Link:
    """A workload's interface in the kernel; *mtu* in bytes."""

    name: str
    mtu: int


class Inventory:
    """Ports, subnets and links, indexed by network."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        self._subnets: dict[str, Subnet] = {}
        self._links: dict[str, Link] = {}
        self._placed: dict[str, str] = {}
        self._ports_of: dict[str, set[str]] = {}
        self._subnets_of: dict[str, set[str]] = {}
        self._ports_at: dict[str, set[str]] = {}
        self._nameless: set[str] = set()
        self._dirty: set[str] = set()

    def set_port(self, key: str, port: Port | None) -> None:
        """State that the endpoint under *key* is *port*, or nothing that could be served."""
        old = self._ports.get(key)
        if old == port:
            return
        if old is not None:
            self._ports_at[old.interface].discard(key)
            del self._ports[key]
            self._nameless.discard(key)
        if port is not None:
            self._ports[key] = port
            self._ports_at.setdefault(port.interface, set()).add(key)
            if not port.network_id:
                self._nameless.add(key)
        self._place(key)
        self._touch(self._placed.get(key))

    def set_subnet(self, subnet_id: str, subnet: Subnet | None) -> None:
        """State that *subnet_id* is *subnet*, or nothing that could be served."""
        old = self._subnets.get(subnet_id)
        if old == subnet:
            return
        if old is not None:
            self._subnets_of[old.network_id].discard(subnet_id)
            self._touch(old.network_id)
            del self._subnets[subnet_id]
        if subnet is not None:
            self._subnets[subnet_id] = subnet
            self._subnets_of.setdefault(subnet.network_id, set()).add(subnet_id)
            self._touch(subnet.network_id)
        for key in sorted(self._nameless):
            self._place(key)

    def set_links(self, links: Mapping[str, Link]) -> None:
        """State which interfaces exist."""
        for name in sorted(self._links.keys() | links.keys()):
            self.set_link(name, links.get(name))

    def set_link(self, name: str, link: Link | None) -> None:
        """State that the interface *name* is *link*, or does not exist."""
        if link is not None and link.mtu < _MINIMUM_MTU:
            link = Link(name, _MINIMUM_MTU)
        if self._links.get(name) == link:
            return
        if link is None:
            del self._links[name]
        else:
            self._links[name] = link
        for key in self._ports_at.get(name, ()):
            self._touch(self._placed.get(key))

    def take_dirty(self) -> set[str]:
        """Return the networks whose state has changed since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def networks(self) -> set[str]:
        """Return all networks with ports on this host."""
        return {network for network, ports in self._ports_of.items() if ports}

    def network(self, network_id: str) -> NetworkState:
        """Return the state of a network."""
        ports = [self._ports[key] for key in sorted(self._ports_of.get(network_id, ()))]
        present = tuple(port for port in ports if port.interface in self._links)
        subnets = sorted(self._subnets_of.get(network_id, ()))
        return NetworkState(
            network_id=network_id,
            ports=present,
            subnets=tuple(self._subnets[subnet] for subnet in subnets),
            mtus={port.interface: self._links[port.interface].mtu for port in present},
        )

    def _place(self, key: str) -> None:
        """Put a port into its network; one that does not name it, into that of its address."""
        old, new = self._placed.get(key), self._network_of(key)
        if old == new:
            return
        if old is not None:
            self._ports_of[old].discard(key)
            del self._placed[key]
            self._touch(old)
        if new is not None:
            self._placed[key] = new
            self._ports_of.setdefault(new, set()).add(key)
            self._touch(new)

    def _network_of(self, key: str) -> str | None:
        port = self._ports.get(key)
        if port is None:
            return None
        if port.network_id:
            return port.network_id
        for subnet_id in sorted(self._subnets):
            subnet = self._subnets[subnet_id]
            if any(address in subnet.cidr for address in port.addresses):
                return subnet.network_id
        return UNNAMED_NETWORK

    def _touch(self, network_id: str | None) -> None:
        if network_id is not None:
            self._dirty.add(network_id)

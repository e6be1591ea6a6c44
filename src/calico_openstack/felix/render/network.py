"""Routes, neighbours, ARP, settings and shaping of the interfaces of this host's endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostState, LocalEndpoint
from calico_openstack.felix.calc.migration import RoutePriority
from calico_openstack.felix.render import names
from calico_openstack.felix.render.dataplane import (
    Address,
    DataplaneDelta,
    DesiredDataplane,
    InterfaceSettings,
    NeighbourKey,
    Route,
)
from calico_openstack.felix.render.floating import FloatingAddresses
from calico_openstack.felix.render.nft import interface_key
from calico_openstack.felix.render.qos import shaping_of
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import ip_version, unpack_address

_MAC_SIZE = 6


class NetworkRenderer:
    """Keeps everything but the IP tables in step with the endpoints of this host.

    An address that several endpoints have is routed to the newest interface of theirs that is up:
    which that is the driver of routes knows. A floating address that is nobody's own is routed to
    the endpoint that it leads to. Live migration withholds the routes of an endpoint, or elevates
    their priority; then it goes before others.
    """

    def __init__(
        self,
        desired: DesiredDataplane,
        arp: TableWriter,
        settings: RenderSettings,
        state: HostState,
        floating: FloatingAddresses,
    ) -> None:
        self._desired = desired
        self._arp = arp
        self._settings = settings
        self._state = state
        self._floating = floating
        self._known: dict[ResourceKey, LocalEndpoint] = {}
        self._arrivals: dict[ResourceKey, dict[NeighbourKey, bytes]] = {}
        self._claims: dict[bytes, set[ResourceKey]] = {}
        self._priorities: dict[ResourceKey, RoutePriority] = {}
        self._reprioritised: set[ResourceKey] = set()

    def prioritise(self, priorities: Mapping[ResourceKey, RoutePriority]) -> None:
        """Give the routes of endpoints, known or not, other priorities with the next `apply`."""
        for key, priority in priorities.items():
            self._priorities.pop(key, None)
            if priority is not RoutePriority.NORMAL:
                self._priorities[key] = priority
            self._reprioritised.add(key)

    def apply(
        self, keys: Iterable[ResourceKey], moved: Iterable[bytes], delta: DataplaneDelta
    ) -> None:
        """Bring endpoints up to date, and note in *delta* what changed.

        *moved* are the floating addresses that lead elsewhere now.
        """
        addresses = set(moved)
        before: dict[str, LocalEndpoint] = {}
        after: dict[str, LocalEndpoint] = {}
        for key in keys:
            old, new = self._known.pop(key, None), self._state.endpoints.get(key)
            if old:
                before[old.interface] = old
                addresses.update(self._routed(old))
                for address in self._routed(old):
                    self._claims[address].discard(key)
            if new:
                self._known[key] = new
                addresses |= self._floating.externals_of(key)
                after[new.interface] = new
                addresses.update(self._routed(new))
                for address in self._routed(new):
                    self._claims.setdefault(address, set()).add(key)
        for key in self._reprioritised & self._known.keys():
            addresses.update(self._routed(self._known[key]))
            addresses |= self._floating.externals_of(key)
        self._update_arrivals(self._reprioritised.union(keys), delta)
        self._reprioritised.clear()
        for address in addresses:
            self._update_route(address, delta)
        for interface in before.keys() | after.keys():
            self._update_interface(before.get(interface), after.get(interface), delta)

    def _routed(self, endpoint: LocalEndpoint) -> list[bytes]:
        """Return the addresses of an endpoint of the IP versions that are on."""
        return [a for a in endpoint.addresses if self._settings.ipv6 or ip_version(a) == 4]

    def _interface_settings(self, endpoint: LocalEndpoint) -> InterfaceSettings:
        versions = {ip_version(address) for address in self._routed(endpoint)}
        return InterfaceSettings(
            ipv4=4 in versions, ipv6=6 in versions, spoofing=bool(endpoint.sources)
        )

    def _update_route(self, address: bytes, delta: DataplaneDelta) -> None:
        network = ip_network(address)
        routes = self._desired.routes
        claimants = self._claimants(address)
        if not claimants:
            if routes.pop(network, None):
                delta.routes.add(network)
            return
        route = self._route(address, claimants)
        if routes.get(network) != route:
            routes[network] = route
            delta.routes.add(network)

    def _route(self, address: bytes, claimants: list[ResourceKey]) -> Route:
        settings = self._settings
        if ip_version(address) == 4:
            normal, high = settings.ipv4_route_priority, settings.ipv4_elevated_route_priority
            source: Address | None = settings.ipv4_route_source
        else:
            normal, high = settings.ipv6_route_priority, settings.ipv6_elevated_route_priority
            source = settings.ipv6_route_source
        candidates = []
        for key in claimants:
            elevated = self._priority(key) is RoutePriority.ELEVATED
            candidates.append((self._known[key].interface, high if elevated else normal))
        (interface, metric), *others = candidates
        return Route(interface, metric, settings.route_protocol, source, tuple(others))

    def _priority(self, key: ResourceKey) -> RoutePriority:
        return self._priorities.get(key, RoutePriority.NORMAL)

    def _claimants(self, address: bytes) -> list[ResourceKey]:
        """Return the endpoints that an address may be routed to, in an order of no importance."""
        if not self._settings.sync_routes:
            return []
        claims = self._claims.get(address)
        if not claims:
            self._claims.pop(address, None)
            target = self._floating.targets.get(address)
            claims = {target.endpoint} if target else set()
        present = [key for key in claims if self._priority(key) is not RoutePriority.WITHHELD]
        return sorted(present, key=lambda key: key.path)

    def _update_interface(
        self, old: LocalEndpoint | None, new: LocalEndpoint | None, delta: DataplaneDelta
    ) -> None:
        """Bring one interface's neighbours, ARP addresses and settings up to date."""
        had, has = self._neighbours(old), self._neighbours(new)
        for neighbour in had.keys() - has.keys():
            del self._desired.neighbours[neighbour]
            delta.neighbours.add(neighbour)
        for neighbour, mac in has.items():
            if self._desired.neighbours.get(neighbour) != mac:
                self._desired.neighbours[neighbour] = mac
                delta.neighbours.add(neighbour)
        was, now = _arp_elements(old), _arp_elements(new)
        for element in was - now:
            self._arp.remove_element(names.WORKLOAD_ADDRESSES, element)
        for element in now:
            self._arp.put_element(names.WORKLOAD_ADDRESSES, element)
        if new:
            wanted = self._interface_settings(new)
            if self._desired.interfaces.get(new.interface) != wanted:
                self._desired.interfaces[new.interface] = wanted
                delta.interfaces.add(new.interface)
        elif old:
            del self._desired.interfaces[old.interface]
            delta.interfaces.add(old.interface)
        interface = new.interface if new else old.interface if old else ""
        if bool(new and new.peer) != (interface in self._desired.peers):
            self._desired.peers ^= {interface}
            delta.peers.add(interface)
        shaping = shaping_of(new.spec.qos_controls) if new else None
        if self._desired.shaping.get(interface) != shaping:
            self._desired.shaping.pop(interface, None)
            if shaping:
                self._desired.shaping[interface] = shaping
            delta.shaping.add(interface)

    def _neighbours(self, endpoint: LocalEndpoint | None) -> dict[NeighbourKey, bytes]:
        """Return the permanent neighbours: IPv4 only (specification section 3.13)."""
        return self._at_their_mac(endpoint, 4)

    def _update_arrivals(self, keys: Iterable[ResourceKey], delta: DataplaneDelta) -> None:
        """Have the kernel know the IPv6 addresses of workloads that have just arrived.

        Their entries are not permanent, and packets wait while the kernel asks for an address: for
        a guest that has only begun to run, as long as it needs for its first answer.
        """
        had: dict[NeighbourKey, bytes] = {}
        has: dict[NeighbourKey, bytes] = {}
        for key in keys:
            had |= self._arrivals.pop(key, {})
            arrived = self._priority(key) is RoutePriority.ELEVATED and self._settings.ipv6
            if arrived and (found := self._at_their_mac(self._known.get(key), 6)):
                self._arrivals[key] = found
                has |= found
        for neighbour in had.keys() - has.keys():
            del self._desired.arrivals[neighbour]
        for neighbour, mac in has.items():
            if had.get(neighbour) != mac:
                self._desired.arrivals[neighbour] = mac
                delta.arrivals.add(neighbour)

    def _at_their_mac(
        self, endpoint: LocalEndpoint | None, version: int
    ) -> dict[NeighbourKey, bytes]:
        if endpoint is None or len(endpoint.mac) != _MAC_SIZE or not self._settings.sync_routes:
            return {}
        return {
            NeighbourKey(endpoint.interface, unpack_address(address)): endpoint.mac
            for address in endpoint.addresses
            if ip_version(address) == version
        }


def _arp_elements(endpoint: LocalEndpoint | None) -> set[bytes]:
    if endpoint is None:
        return set()
    interface = interface_key(endpoint.interface)
    return {interface + each for each in endpoint.addresses if ip_version(each) == 4}

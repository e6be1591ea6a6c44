"""The host endpoints of this host in the table of one IP version.

There are few, and they change seldom: all of them are rendered anew after each change, and only
what is different is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from calico_openstack.felix.calc import HostState, LocalHostEndpoint
from calico_openstack.felix.render import names
from calico_openstack.felix.render.class_chains import ClassChains
from calico_openstack.felix.render.host_layout import HostLayout, HostPoint
from calico_openstack.felix.render.layout import IpLayout
from calico_openstack.felix.render.nft import (
    Element,
    ElementValue,
    KeyType,
    Set,
    Verdict,
    VerdictKind,
    interface_key,
)
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.felix.render.ways import FORWARD, HOST, PRE_DNAT, UNTRACKED, Way
from calico_openstack.policy.host_interfaces import EVERY_INTERFACE
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import EndpointPolicy, HostEndpointPolicy

_IN, _OUT = Direction.INGRESS, Direction.EGRESS
_INTERFACES: Final = Set((KeyType.IFNAME,))
_VERDICTS: Final = Set((KeyType.IFNAME,), verdicts=True)
_PORTS: Final = Set((KeyType.PROTOCOL, KeyType.PORT))

_POINTS: Final[dict[str, Way]] = {
    names.FROM_HOST_ENDPOINT: HOST[_IN],
    names.TO_HOST_ENDPOINT: HOST[_OUT],
    names.FROM_HOST_FORWARD: FORWARD[_IN],
    names.TO_HOST_FORWARD: FORWARD[_OUT],
    names.PRE_DNAT: PRE_DNAT,
    names.UNTRACKED_IN: UNTRACKED[_IN],
    names.UNTRACKED_OUT: UNTRACKED[_OUT],
}
_SETS: Final = (*_POINTS, names.HOST_INTERFACES, *names.FAILSAFE.values())


class _Wanted(Struct):
    """What host endpoints need: sets with their elements, points, and the chains that they use."""

    sets: dict[str, tuple[Set, dict[Element, ElementValue]]] = field(default_factory=dict)
    points: dict[str, HostPoint] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)


class HostEndpointRenderer:
    """Keeps the host endpoints in one IP version's table."""

    def __init__(
        self, writer: TableWriter, layout: IpLayout, classes: ClassChains, state: HostState
    ) -> None:
        self._writer = writer
        self._settings = layout.settings
        self._state = state
        self._classes = classes
        self._layout = layout
        self._used: list[str] = []

    def apply(self) -> None:
        """Bring the table up to date with the host endpoints."""
        wanted = self._wanted()
        for name in _SETS:
            self._put_set(name, wanted)
        everywhere = _everywhere(self._state.host_endpoints.values())
        self._layout.govern(
            HostLayout(self._layout.version, self._settings, wanted.points, everywhere)
        )
        released, self._used = self._used, wanted.used
        for chain in released:
            self._classes.release(chain)

    def _wanted(self) -> _Wanted:
        wanted = _Wanted()
        endpoints = sorted(self._state.host_endpoints.values(), key=lambda each: each.key.name)
        if not endpoints:
            return wanted
        for name, way in _POINTS.items():
            self._add_point(name, way, endpoints, wanted)
        own: dict[Element, ElementValue] = {
            interface_key(interface): None
            for endpoint in endpoints
            for interface in endpoint.interfaces - {EVERY_INTERFACE}
        }
        if self._settings.drop_invalid and not _everywhere(endpoints):
            wanted.sets[names.HOST_INTERFACES] = (_INTERFACES, own)
        for direction, name in names.FAILSAFE.items():
            ports: dict[Element, ElementValue] = {
                entry.key: None
                for entry in self._settings.failsafe(direction)
                if entry.network is None
            }
            if ports:
                wanted.sets[name] = (_PORTS, ports)
        return wanted

    def _add_point(
        self, name: str, way: Way, endpoints: list[LocalHostEndpoint], wanted: _Wanted
    ) -> None:
        chains = {
            endpoint.key: self._classes.use(way, policy)
            for endpoint in endpoints
            if (policy := _policy_at(way, endpoint))
        }
        wanted.used += chains.values()
        if not chains:
            return
        otherwise = ""
        elements: dict[Element, ElementValue] = {}
        for endpoint in endpoints:
            chain = chains.get(endpoint.key)
            if EVERY_INTERFACE in endpoint.interfaces and chain:
                otherwise = chain
            verdict = Verdict(VerdictKind.GOTO, chain) if chain else way.undecided
            for interface in endpoint.interfaces - {EVERY_INTERFACE}:
                elements[interface_key(interface)] = verdict
        if not otherwise:
            elements = {
                element: verdict
                for element, verdict in elements.items()
                if verdict != way.undecided
            }
        wanted.points[name] = HostPoint(bool(elements), otherwise)
        if elements:
            wanted.sets[name] = (_VERDICTS, elements)

    def _put_set(self, name: str, wanted: _Wanted) -> None:
        exists = name in self._writer.state.sets
        if name not in wanted.sets:
            if exists:
                self._writer.remove_set(name)
            return
        kind, elements = wanted.sets[name]
        if not exists:
            self._writer.add_set(name, kind, elements)
            return
        for element in self._writer.state.elements[name].keys() - elements.keys():
            self._writer.remove_element(name, element)
        for element, value in elements.items():
            self._writer.put_element(name, element, value)


def _everywhere(endpoints: Iterable[LocalHostEndpoint]) -> bool:
    """Tell whether there is an endpoint for all interfaces that have none of their own."""
    return any(EVERY_INTERFACE in endpoint.interfaces for endpoint in endpoints)


def _policy_at(way: Way, endpoint: LocalHostEndpoint) -> EndpointPolicy | None:
    """Return what decides at a point, None if nothing of the endpoint does."""
    policy: HostEndpointPolicy = endpoint.policy
    if way in HOST.values():
        return policy.normal
    if way in FORWARD.values():
        tiers = policy.forward
    elif way is PRE_DNAT:
        tiers = policy.pre_dnat
    elif EVERY_INTERFACE in endpoint.interfaces:
        # Untracked policies are for named interfaces only (specification section 3.8).
        return None
    else:
        tiers = policy.untracked
    if not any(tier.policies(way.direction) for tier in tiers):
        return None
    return EndpointPolicy(tiers)

"""Packet rates and numbers of connections of endpoints that are limited in them.

The chains that policy leads to are shared by all endpoints of a class, but a rate or a number
counts for one endpoint. So an endpoint with limits has chains of its own with nothing else in them,
to which maps by interface jump before policy is asked: a rate before established packets are
accepted, a number of connections after that (specification section 3.5). Chains and rules stay as
they are whatever happens to the endpoint's policy: what they have counted survives.

Each IP version counts for itself, as it does upstream. Only TCP connections are counted: others
cannot be reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.felix.render import names
from calico_openstack.felix.render.layout import IpLayout
from calico_openstack.felix.render.matches import protocol_is
from calico_openstack.felix.render.nft import (
    DROP,
    Chain,
    Counter,
    KeyType,
    Limit,
    MoreConnections,
    Reject,
    Rule,
    Set,
    Verdict,
    VerdictKind,
)
from calico_openstack.felix.render.qos import NO_LIMITS, PacketLimits, packet_limits
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.packet import Direction

_TCP: Final = 6
_MAP: Final = Set((KeyType.IFNAME,), verdicts=True)
_MAPS: Final = (*names.PACKET_RATES.values(), *names.CONNECTIONS.values())


class Limited(Struct, frozen=True):
    """An endpoint with limits: its interface, as nftables keeps it, and the limits."""

    interface: bytes
    limits: dict[Direction, PacketLimits]

    @staticmethod
    def of(endpoint: LocalEndpoint) -> Limited | None:
        """Return the limits of an endpoint, None if it has none."""
        controls = endpoint.spec.qos_controls
        if controls is None:
            return None
        limits = {each: packet_limits(controls, each) for each in Direction}
        if all(each == NO_LIMITS for each in limits.values()):
            return None
        return Limited(endpoint.interface.encode().ljust(16, b"\0"), limits)


class _Rendered(Struct):
    """What the limits of one endpoint are in a table: chains by name, and where maps lead."""

    chains: dict[str, Chain] = field(default_factory=dict)
    elements: dict[tuple[str, bytes], Verdict] = field(default_factory=dict)

    def add(self, name: str, chain: Chain, map_name: str, interface: bytes) -> None:
        self.chains[name] = chain
        self.elements[map_name, interface] = Verdict(VerdictKind.JUMP, name)


class LimitRenderer:
    """Keeps the limits in one IP version's table."""

    def __init__(self, writer: TableWriter, layout: IpLayout) -> None:
        self._writer = writer
        self._layout = layout
        self._rendered: dict[ResourceKey, _Rendered] = {}

    def update(self, changed: Mapping[ResourceKey, Limited | None]) -> None:
        """Take up new limits of endpoints, all at once: one may take over another's interface."""
        before, after = _Rendered(), _Rendered()
        for key, limited in changed.items():
            old = self._rendered.pop(key, None)
            if old:
                before.chains.update(old.chains)
                before.elements.update(old.elements)
            if limited:
                new = self._rendered[key] = _render(key, limited)
                after.chains.update(new.chains)
                after.elements.update(new.elements)
        if before.chains or after.chains:
            self._write(before, after)

    def _write(self, before: _Rendered, after: _Rendered) -> None:
        sets = self._writer.state.sets
        for name in {name for name, _ in after.elements} - sets.keys():
            self._writer.add_set(name, _MAP, {})
        for name, chain in after.chains.items():
            self._writer.put_chain(name, chain)
        for name, interface in before.elements.keys() - after.elements.keys():
            self._writer.remove_element(name, interface)
        for (name, interface), verdict in after.elements.items():
            self._writer.put_element(name, interface, verdict)
        for name in before.chains.keys() - after.chains.keys():
            self._writer.remove_chain(name)
        for name in _MAPS:
            if name in sets and not self._writer.state.elements[name]:
                self._writer.remove_set(name)
        maps = frozenset(name for name in _MAPS if name in sets)
        self._layout.limit(maps)


def _render(key: ResourceKey, limited: Limited) -> _Rendered:
    rendered = _Rendered()
    for direction, limits in limited.limits.items():
        whose = f"of {key.namespace}/{key.name}"
        if limits.rate:
            over = Limit(limits.rate.rate, 1, limits.rate.burst, over=True)
            rule = Rule((over, Counter(), DROP), names.comment(f"packet rate {whose}"))
            chain = names.rate_chain(key, direction)
            rendered.add(chain, Chain((rule,)), names.PACKET_RATES[direction], limited.interface)
        if limits.connections:
            more = (protocol_is(_TCP), MoreConnections(limits.connections))
            refuse = (*more, Counter(), Reject(tcp_reset=True))
            rule = Rule(refuse, names.comment(f"connections {whose}"))
            chain = names.connections_chain(key, direction)
            rendered.add(chain, Chain((rule,)), names.CONNECTIONS[direction], limited.interface)
    return rendered

"""Flows that go by the rules once they are established, of one IP version (section 3.17).

The kernel takes packets of such a flow out of the way where they arrive, before any chain, and asks
from which interface they come: nobody else can send in another's flow. Where an endpoint has
something that every packet must meet (a rate of packets, a code point) or that counts flows, its
flows are left alone: a set has the addresses of those endpoints while there are any. Limits of
bandwidth are kept in any case, queueing is behind and before all this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostState, LocalEndpoint
from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import ADDRESS_KEY
from calico_openstack.felix.render.nft import (
    CtState,
    CtStateIs,
    Expression,
    Field,
    InSet,
    OffloadFlow,
    Rule,
    Set,
)
from calico_openstack.felix.render.qos import NO_LIMITS, packet_limits
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import ip_version
from calico_openstack.policy.packet import Direction

_ENDS: Final = {
    4: (Field.IP_SADDR, Field.IP_DADDR),
    6: (Field.IP6_SADDR, Field.IP6_DADDR),
}


def offload(version: int, *, exceptions: bool) -> tuple[Rule, ...]:
    """Return the rule that offloads established flows, but for *exceptions*, if there are any."""
    match: list[Expression] = [CtStateIs(CtState.ESTABLISHED)]
    if exceptions:
        match += [InSet((end,), names.NOT_OFFLOADED, invert=True) for end in _ENDS[version]]
    return (Rule((*match, OffloadFlow(names.FLOWTABLE))),)


class OffloadExceptions:
    """Keeps the set of addresses whose flows are not offloaded."""

    def __init__(self, version: int, writer: TableWriter) -> None:
        self._version = version
        self._writer = writer
        self._excepted: dict[ResourceKey, frozenset[bytes]] = {}
        self._claims: dict[bytes, int] = {}

    def update(self, changed: Iterable[ResourceKey], state: HostState) -> bool:
        """Take up endpoints that changed; tell whether there are exceptions."""
        touched: set[bytes] = set()
        for key in changed:
            before = self._excepted.pop(key, frozenset())
            after = self._addresses(state.endpoints.get(key))
            if after:
                self._excepted[key] = after
            for address in before - after:
                self._claims[address] -= 1
            for address in after - before:
                self._claims[address] = self._claims.get(address, 0) + 1
            touched |= before ^ after
        self._write(touched)
        return bool(self._claims)

    def _addresses(self, endpoint: LocalEndpoint | None) -> frozenset[bytes]:
        controls = endpoint.spec.qos_controls if endpoint else None
        if endpoint is None or controls is None:
            return frozenset()
        limited = any(packet_limits(controls, each) != NO_LIMITS for each in Direction)
        if not limited and controls.dscp is None:
            return frozenset()
        return frozenset(a for a in endpoint.addresses if ip_version(a) == self._version)

    def _write(self, touched: Iterable[bytes]) -> None:
        writer, name = self._writer, names.NOT_OFFLOADED
        for address in touched:
            if name not in writer.state.sets:
                writer.add_set(name, Set((ADDRESS_KEY[self._version],)), {})
            if self._claims[address]:
                writer.put_element(name, address)
            else:
                del self._claims[address]
                writer.remove_element(name, address)
        if name in writer.state.sets and not self._claims:
            writer.remove_set(name)

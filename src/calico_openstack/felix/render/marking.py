"""Code points for what endpoints send out of the cluster, of one IP version (section 3.17).

A map leads from the source address to the chain that writes the code point, one chain for each that
is in use. Only destinations outside of all address pools are asked for, without any pool that is
everything, and not what the host sends to itself. The addresses of host endpoints are those that
they expect. The chains exist only while an endpoint has a code point.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.dscp import dscp_value
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostState
from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import ADDRESS_KEY
from calico_openstack.felix.render.nft import (
    Chain,
    Compare,
    Field,
    Hook,
    InSet,
    Rule,
    Set,
    SetDscp,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import ip_version
from calico_openstack.policy.host_interfaces import expected_addresses

_SOURCE: Final = {4: Field.IP_SADDR, 6: Field.IP6_SADDR}
_DESTINATION: Final = {4: Field.IP_DADDR, 6: Field.IP6_DADDR}
_POSTROUTING: Final = Hook("filter", "postrouting", -150)


class _Marked(Struct, frozen=True):
    """A workload's or host's endpoint with a code point, and its addresses of the IP version."""

    value: int
    addresses: frozenset[bytes]


class MarkingRenderer:
    """Keeps the map and the chains in step with the endpoints of this host.

    An address that several endpoints have is marked as the one with the lowest key says.
    """

    def __init__(self, version: int, writer: TableWriter, state: HostState) -> None:
        self._version = version
        self._writer = writer
        self._state = state
        self._marked: dict[ResourceKey, _Marked] = {}
        self._claims: dict[bytes, set[ResourceKey]] = {}

    def apply(self, changed: Iterable[ResourceKey]) -> None:
        """Bring everything up to date, given which endpoints, also of the host, changed."""
        touched: set[bytes] = set()
        for key in changed:
            old = self._marked.pop(key, None)
            new = self._read(key)
            for address in old.addresses if old else ():
                self._claims[address].discard(key)
                touched.add(address)
            if new:
                self._marked[key] = new
                for address in new.addresses:
                    self._claims.setdefault(address, set()).add(key)
                touched |= new.addresses
        if touched:
            self._write(touched)

    def _read(self, key: ResourceKey) -> _Marked | None:
        value: int | None = None
        addresses: tuple[bytes, ...] = ()
        if endpoint := self._state.endpoints.get(key):
            controls = endpoint.spec.qos_controls
            if controls is not None and controls.dscp is not None:
                value, addresses = dscp_value(controls.dscp), endpoint.addresses
        elif host := self._state.host_endpoints.get(key):
            value, addresses = host.dscp, expected_addresses(host.spec)
        mine = frozenset(a for a in addresses if ip_version(a) == self._version)
        return _Marked(value, mine) if value is not None and mine else None

    def _write(self, touched: Iterable[bytes]) -> None:
        writer = self._writer
        if names.DSCP_SOURCES not in writer.state.sets:
            writer.add_set(
                names.DSCP_SOURCES, Set((ADDRESS_KEY[self._version],), verdicts=True), {}
            )
            writer.put_chain(names.DSCP_POSTROUTING, self._hook())
        values = {marked.value for marked in self._marked.values()}
        for value in values:
            writer.put_chain(names.dscp_chain(value), Chain((Rule((SetDscp(value),)),)))
        for address in touched:
            claims = self._claims[address]
            if claims:
                winner = self._marked[min(claims, key=lambda key: key.path)]
                chain = names.dscp_chain(winner.value)
                writer.put_element(names.DSCP_SOURCES, address, Verdict(VerdictKind.GOTO, chain))
            else:
                del self._claims[address]
                writer.remove_element(names.DSCP_SOURCES, address)
        for value in range(64):
            if value not in values and names.dscp_chain(value) in writer.state.chains:
                writer.remove_chain(names.dscp_chain(value))
        if not self._marked:
            writer.remove_set(names.DSCP_SOURCES)
            writer.remove_chain(names.DSCP_POSTROUTING)

    def _hook(self) -> Chain:
        away = Compare(Field.OIFNAME, b"lo", invert=True)
        leaving = InSet((_DESTINATION[self._version],), names.POOLS, invert=True)
        mark = VerdictMap((_SOURCE[self._version],), names.DSCP_SOURCES)
        return Chain((Rule((away, leaving, mark)),), _POSTROUTING)

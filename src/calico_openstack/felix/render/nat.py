"""Translations of addresses, of one IP version: floating addresses, outgoing traffic.

- nat-prerouting, and for the host's own packets nat-output: a floating address leads to the
  internal one that it stands for. All later hooks see that: policy, routing, and the tracked flow.
- nat-postrouting: what a workload sends to its own floating address shows that address as source,
  so that the answer comes back through the host (a hairpin). What leaves the cluster from
  masqueraded pools shows an address of the host.

The chains exist only while there is something to translate: a table without any spares the
kernel's packets the whole machinery of translations.
"""

from __future__ import annotations

from collections.abc import Iterable

from calico_openstack.felix.render import metadata, names
from calico_openstack.felix.render.floating import FloatingAddresses
from calico_openstack.felix.render.matches import ADDRESS_KEY, protocol_is
from calico_openstack.felix.render.nft import (
    Chain,
    Compare,
    Expression,
    Field,
    Hook,
    InSet,
    NatKind,
    NatMap,
    Rule,
    Set,
    SourceNat,
)
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import ip_version

_TCP, _UDP = 6, 17
_SOURCE = {4: Field.IP_SADDR, 6: Field.IP6_SADDR}
_DESTINATION = {4: Field.IP_DADDR, 6: Field.IP6_DADDR}
_PREROUTING = Hook("nat", "prerouting", -100)
_OUTPUT = Hook("nat", "output", -100)
_POSTROUTING = Hook("nat", "postrouting", 100)


class NatRenderer:
    """Keeps the maps of floating addresses and the chains of translations."""

    def __init__(
        self,
        version: int,
        writer: TableWriter,
        settings: RenderSettings,
        floating: FloatingAddresses,
    ) -> None:
        self._version = version
        self._writer = writer
        self._settings = settings
        self._floating = floating
        self._address = ADDRESS_KEY[version]
        self._put_chains()

    def apply(self, moved: Iterable[bytes]) -> None:
        """Bring everything up to date, given the external addresses that lead elsewhere now."""
        mine = [external for external in moved if ip_version(external) == self._version]
        if mine:
            self._put_elements(mine)
        self._put_chains()
        if mine and not self._has_floating:
            for name in (names.FLOATING, names.HAIRPIN):
                self._writer.remove_set(name)

    @property
    def _has_floating(self) -> bool:
        return bool(self._writer.state.elements.get(names.FLOATING))

    def _put_elements(self, moved: list[bytes]) -> None:
        if names.FLOATING not in self._writer.state.sets:
            address = self._address
            self._writer.add_set(names.FLOATING, Set((address,), data=address), {})
            self._writer.add_set(names.HAIRPIN, Set((address, address), data=address), {})
        touched: set[bytes] = set()
        elements = self._writer.state.elements[names.FLOATING]
        for external in moved:
            before, target = elements.get(external), self._floating.targets.get(external)
            if isinstance(before, bytes):
                touched.add(before)
            if target is None:
                self._writer.remove_element(names.FLOATING, external)
            else:
                touched.add(target.internal)
                self._writer.put_element(names.FLOATING, external, target.internal)
        for internal in touched:
            shown = self._floating.lowest_external(internal)
            if shown is None:
                self._writer.remove_element(names.HAIRPIN, internal + internal)
            else:
                self._writer.put_element(names.HAIRPIN, internal + internal, shown)

    def _put_chains(self) -> None:
        inbound: tuple[Rule, ...] = ()
        outbound: list[Rule] = []
        if self._has_floating:
            source, destination = _SOURCE[self._version], _DESTINATION[self._version]
            to_internal = NatMap(NatKind.DESTINATION, (destination,), names.FLOATING)
            inbound = (Rule((to_internal,), "floating addresses"),)
            hairpin = NatMap(NatKind.SOURCE, (source, destination), names.HAIRPIN)
            outbound.append(Rule((hairpin,), "a workload's own floating address"))
        if self._writer.state.elements[names.MASQUERADED_POOLS]:
            outbound += self._masquerade()
        service = metadata.translation(self._version, self._settings)
        self._put(names.NAT_PREROUTING, (*service, *inbound), _PREROUTING)
        self._put(names.NAT_OUTPUT, inbound, _OUTPUT)
        self._put(names.NAT_POSTROUTING, tuple(outbound), _POSTROUTING)

    def _put(self, name: str, rules: tuple[Rule, ...], hook: Hook) -> None:
        if rules:
            self._writer.put_chain(name, Chain(rules, hook))
        elif name in self._writer.state.chains:
            self._writer.remove_chain(name)

    def _masquerade(self) -> list[Rule]:
        """Return the rules for what leaves the cluster (specification section 3.15)."""
        settings = self._settings
        destination = (_DESTINATION[self._version],)
        matches: list[Expression] = [
            InSet((_SOURCE[self._version],), names.MASQUERADED_POOLS),
            InSet(destination, names.POOLS, invert=True),
        ]
        if settings.nat_excludes_hosts:
            matches.append(InSet(destination, names.HOSTS, invert=True))
        if interface := settings.nat_outgoing_interface:
            # iptables' way to say "all that begin with".
            prefix = interface.endswith("+")
            name = interface.removesuffix("+").encode()
            matches.append(Compare(Field.OIFNAME, name, prefix=prefix))
        address = settings.nat_outgoing_address if self._version == 4 else None
        shown = address.packed if address else None
        rules = []
        if settings.nat_ports:
            rules = [
                Rule((*matches, protocol_is(protocol), SourceNat(shown, settings.nat_ports)))
                for protocol in (_TCP, _UDP)
            ]
        rules.append(Rule((*matches, SourceNat(shown))))
        return [Rule(rule.expressions, "leaves the cluster") for rule in rules]

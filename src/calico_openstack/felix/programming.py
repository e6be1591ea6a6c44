"""What the kernel has for one endpoint, beside what it should have. Pure, on what was read.

Everything is compared that a packet of the endpoint can meet: its source in the set that anti-
spoofing looks into, the dispatch by interface, every chain that this leads to, and the sets that
their rules look into.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.felix.kernel.nft_dump import TableImage
from calico_openstack.felix.render import names
from calico_openstack.felix.render.nft import (
    Chain,
    Element,
    InSet,
    Rule,
    Ruleset,
    Table,
    TableState,
    Verdict,
    VerdictMap,
    interface_key,
)
from calico_openstack.felix.render.renderer import IP6_TABLE, IP_TABLE
from calico_openstack.policy.addresses import ip_version, unpack_address

OK, MISSING, DIFFERENT = "ok", "missing", "differs"
_TABLES = {4: IP_TABLE, 6: IP6_TABLE}
_HOOKS = (names.RAW_PREROUTING, names.FILTER_FORWARD, names.FILTER_INPUT)


class Finding(Struct, frozen=True):
    """One thing in the kernel, and whether it is as it should be."""

    thing: str
    state: str
    wanted: str = ""


def findings(
    endpoint: LocalEndpoint, desired: Ruleset, images: Mapping[Table, TableImage | None]
) -> Iterator[Finding]:
    """Compare the nftables of an endpoint, for each IP version that it has addresses of."""
    for version in sorted({ip_version(address) for address in endpoint.addresses}):
        table = _TABLES[version]
        wanted, image = desired.get(table), images.get(table)
        if wanted is None:
            continue
        if image is None:
            yield Finding(f"table {table.family.value} {table.name}", MISSING, "the whole table")
            continue
        addresses = [each for each in endpoint.addresses if ip_version(each) == version]
        yield from _Comparison(table, wanted, image).endpoint(endpoint.interface, addresses)


class _Comparison(Struct):
    table: Table
    wanted: TableState
    image: TableImage

    def endpoint(self, interface: str, addresses: Iterable[bytes]) -> Iterator[Finding]:
        """Compare what packets of an interface meet."""
        key = interface_key(interface)
        for address in addresses:
            name = f"{unpack_address(address)} as a source of {interface}"
            yield self.element(names.WORKLOAD_SOURCES, key + address, name)
        chains = set(_HOOKS)
        for direction, map_name in (
            ("from", names.FROM_WORKLOAD),
            ("to", names.TO_WORKLOAD),
        ):
            yield self.element(map_name, key, f"dispatch of packets {direction} {interface}")
            verdict = self.wanted.elements.get(map_name, {}).get(key)
            if isinstance(verdict, Verdict) and verdict.chain:
                chains.add(verdict.chain)
        yield from self.chains(chains)

    def element(self, set_name: str, element: Element, thing: str) -> Finding:
        """Compare one element of a set or map."""
        thing = f"{thing}, set {set_name}"
        wanted = self.wanted.elements.get(set_name, {})
        if element not in wanted:
            return Finding(thing, DIFFERENT, "nothing: the endpoint is not programmed")
        present = self.image.sets.get(set_name)
        elements = present.elements if present else None
        if elements is None or element not in elements:
            return Finding(thing, MISSING)
        return Finding(thing, OK if elements[element] == wanted[element] else DIFFERENT)

    def chains(self, start: Iterable[str]) -> Iterator[Finding]:
        """Compare chains and all that they lead to or look into."""
        waiting, seen, sets = sorted(start), set(start), set[str]()
        while waiting:
            name = waiting.pop(0)
            chain = self.wanted.chains.get(name)
            if chain is None:
                continue
            yield self.chain(name, chain)
            for rule in chain.rules:
                sets.update(_sets(rule))
                waiting += [each for each in _targets(rule) if each not in seen]
                seen.update(_targets(rule))
        # The maps by interface belong to everybody: the endpoint's own elements were compared.
        others = {names.WORKLOAD_SOURCES, names.FROM_WORKLOAD, names.TO_WORKLOAD}
        for name in sorted(sets - others):
            yield self.members(name)

    def chain(self, name: str, chain: Chain) -> Finding:
        """Compare the rules of a chain."""
        present = self.image.chains.get(name)
        thing = f"chain {name}"
        if present is None:
            return Finding(thing, MISSING)
        right = present.hashes == chain.rule_hashes(name) and present.hook == chain.hook
        return Finding(thing, OK if right else DIFFERENT, f"{len(chain.rules)} rules")

    def members(self, name: str) -> Finding:
        """Compare the members of a set."""
        present = self.image.sets.get(name)
        wanted = self.wanted.elements.get(name, {})
        thing, count = f"set {name}", f"{len(wanted)} elements"
        if present is None or present.elements is None:
            return Finding(thing, MISSING, count)
        return Finding(thing, OK if present.elements == wanted else DIFFERENT, count)


def _targets(rule: Rule) -> list[str]:
    return [each.chain for each in rule.expressions if isinstance(each, Verdict) and each.chain]


def _sets(rule: Rule) -> Iterator[str]:
    for each in rule.expressions:
        if isinstance(each, InSet):
            yield each.set_name
        elif isinstance(each, VerdictMap):
            yield each.map_name

"""From the criteria of a policy rule to nftables matches.

A rule's criteria must all hold, and most are one match each. Some hold in several ways: one of
several networks, one of several ports, an address in a set's single addresses or in its networks.
Such a rule becomes one kernel rule for each combination; when that would be too many, lists of
networks and of ports move into sets of their own, named by their content. So do lists of what is
excluded, all of which stands in one kernel rule, whose length is limited.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod

from msgspec import Struct, field
from msgspec.structs import replace

from calico_openstack.datamodel.ports import PortRange
from calico_openstack.felix.calc.ipsets import merged
from calico_openstack.felix.render import names
from calico_openstack.felix.render.lookups import MAX_LISTED_RANGE, PairLookup
from calico_openstack.felix.render.nft import (
    Compare,
    Element,
    ElementValue,
    Expression,
    Field,
    InNetwork,
    InRange,
    InSet,
    KeyType,
    Range,
    Set,
)
from calico_openstack.policy.addresses import Prefix, network_of
from calico_openstack.policy.rules import EntityCriteria, IcmpCriterion, PolicyRule

Matches = tuple[Expression, ...]

# More kernel rules than this for one policy rule, and lists move into sets.
_MAX_RULES = 8
# More excluded networks or ports than this, and they move into a set. The kernel takes 128
# expressions in a rule (NFT_RULE_MAXEXPRS), of which each of these needs two or three.
_MAX_EXCLUDED = 4

ICMP_PROTOCOL = {4: 1, 6: 58}
ADDRESS_KEY = {4: KeyType.IPV4, 6: KeyType.IPV6}


class _End(Struct, frozen=True):
    """The fields of one end of a packet, and who owns the sets for lists of it, if anybody."""

    address: Field
    port: Field
    owner: str = ""

    def set_suffix(self, content: object) -> str:
        """Return what sets a set's name apart: its owner, or its content."""
        text = f"{self.owner} {self.address.value}" if self.owner else repr(content)
        return names.content_hash(text)


_SOURCE = {
    4: _End(Field.IP_SADDR, Field.TH_SPORT),
    6: _End(Field.IP6_SADDR, Field.TH_SPORT),
}
_DESTINATION = {
    4: _End(Field.IP_DADDR, Field.TH_DPORT),
    6: _End(Field.IP6_DADDR, Field.TH_DPORT),
}
_ICMP_FIELDS = {4: (Field.ICMP_TYPE, Field.ICMP_CODE), 6: (Field.ICMPV6_TYPE, Field.ICMPV6_CODE)}


class OwnSet(Struct, frozen=True):
    """A set that exists for the sake of a rule's list.

    Its name stands for its content, or for an owner that has other lists at other times.
    """

    name: str
    kind: Set
    elements: tuple[Element, ...]

    def contents(self) -> dict[Element, ElementValue]:
        """Return the elements as a table keeps them."""
        return dict.fromkeys(self.elements)


class RenderedRule(Struct):
    """The alternatives of a rule, any of which suffices, and the sets that they use."""

    alternatives: list[Matches] = field(default_factory=list)
    sets: list[OwnSet] = field(default_factory=list)


class _Choice(Struct):
    """Ways for one criterion to hold, and how to say it with a set if they are too many.

    *sets* are those that the ways need as they are.
    """

    ways: list[Matches]
    compact: Callable[[], tuple[list[Matches], OwnSet | None]] | None = None
    sets: tuple[OwnSet, ...] = ()


def render_matches(
    rule: PolicyRule, version: int, has_ranges: Callable[[str], bool], owner: str = ""
) -> RenderedRule | None:
    """Return the matches of *rule* for one IP version; None: it can match no such packet.

    *has_ranges* tells whether a selector's set, by identifier, has networks in this version. With
    an *owner* all lists move into sets, whose names stand for it: so a longer list changes the set.
    """
    if rule.ip_version not in (None, version):
        return None
    choices: list[_Choice] = [_Choice([_protocol_matches(rule)])]
    choices += _icmp_choices(rule, version)
    for entity, fields in (
        (rule.source, _SOURCE[version]),
        (rule.destination, _DESTINATION[version]),
    ):
        end = replace(fields, owner=owner)
        found = _entity_choices(entity, end, version, rule.protocol, has_ranges)
        if found is None:
            return None
        choices += found
    rendered = RenderedRule(sets=[own for choice in choices for own in choice.sets])
    while prod(len(choice.ways) for choice in choices) > (1 if owner else _MAX_RULES):
        large = [choice for choice in choices if choice.compact and len(choice.ways) > 1]
        if not large:
            break
        choice = max(large, key=lambda each: len(each.ways))
        assert choice.compact
        choice.ways, own = choice.compact()
        choice.compact = None
        if own:
            rendered.sets.append(own)
    for combination in product(*(choice.ways for choice in choices)):
        rendered.alternatives.append(tuple(match for way in combination for match in way))
    return rendered


def render_pairs(
    lookup: PairLookup, version: int, has_ranges: Callable[[str], bool], owner: str
) -> RenderedRule | None:
    """Return the matches of rules whose networks have ports of their own."""
    rendered = render_matches(lookup.rule, version, has_ranges, owner)
    if rendered is None:
        return None
    address = (_DESTINATION if lookup.outward else _SOURCE)[version].address
    elements = tuple(
        network + _port_key(protocol, port) for network, protocol, port in lookup.elements
    )
    length = lookup.length
    name = f"pairs{length}-{names.content_hash(f'{owner} {address.value}')}"
    kind = Set((ADDRESS_KEY[version], KeyType.PROTOCOL, KeyType.PORT))
    rendered.sets.append(OwnSet(name, kind, elements))
    whole = length == {4: 32, 6: 128}[version]
    fields = (address, Field.L4PROTO, Field.TH_DPORT)
    found = InSet(fields, name, prefix=None if whole else length)
    rendered.alternatives = [(*way, found) for way in rendered.alternatives]
    return rendered


def _protocol_matches(rule: PolicyRule) -> Matches:
    matches: list[Expression] = []
    if rule.protocol is not None:
        matches.append(protocol_is(rule.protocol))
    if rule.not_protocol is not None:
        matches.append(Compare(Field.L4PROTO, bytes((rule.not_protocol,)), invert=True))
    return tuple(matches)


def protocol_is(number: int) -> Compare:
    """Return the match on a protocol, which must stand before any on what follows IP's header."""
    return Compare(Field.L4PROTO, bytes((number,)))


def port_is(port_field: Field, number: int, *, invert: bool = False) -> Compare:
    """Return the match on one port."""
    return Compare(port_field, number.to_bytes(2, "big"), invert=invert)


# --- ICMP -------------------------------------------------------------------------------------


def _icmp_choices(rule: PolicyRule, version: int) -> list[_Choice]:
    """Return the ways to meet the ICMP criteria; the fields are read in ICMP packets only."""
    choices = []
    number = ICMP_PROTOCOL[version]
    guard: Matches = () if rule.protocol == number else (protocol_is(number),)
    if rule.icmp is not None:
        choices.append(_Choice([(*guard, *_icmp_is(rule.icmp, version))]))
    if rule.not_icmp is not None:
        ways: list[Matches] = [(*guard, *way) for way in _icmp_is_not(rule.not_icmp, version)]
        if guard:
            ways.append((Compare(Field.L4PROTO, bytes((number,)), invert=True),))
        choices.append(_Choice(ways))
    return choices


def _icmp_is(criterion: IcmpCriterion, version: int) -> Matches:
    type_field, code_field = _ICMP_FIELDS[version]
    matches = [Compare(type_field, bytes((criterion.type,)))]
    if criterion.code is not None:
        matches.append(Compare(code_field, bytes((criterion.code,))))
    return tuple(matches)


def _icmp_is_not(criterion: IcmpCriterion, version: int) -> list[Matches]:
    """Negate type and code together: another type, or the type with another code."""
    type_field, code_field = _ICMP_FIELDS[version]
    kind = bytes((criterion.type,))
    ways: list[Matches] = [(Compare(type_field, kind, invert=True),)]
    if criterion.code is not None:
        code = bytes((criterion.code,))
        ways.append((Compare(type_field, kind), Compare(code_field, code, invert=True)))
    return ways


# --- one end of a packet ----------------------------------------------------------------------


def _entity_choices(
    entity: EntityCriteria,
    end: _End,
    version: int,
    protocol: int | None,
    has_ranges: Callable[[str], bool],
) -> list[_Choice] | None:
    """Return the ways to meet an entity's criteria, cheap ones first; None: there is none."""
    excluded = _of_version(entity.not_nets, version)
    if any(net.length == 0 for net in excluded):
        return None
    choices: list[_Choice] = []
    if entity.ports or entity.named_ports:
        choices.append(_port_choice(entity, end, version, protocol))
    choices.append(_exclusion(entity, excluded, end, version, protocol))
    if entity.nets is not None:
        included = _of_version(entity.nets, version)
        if not included:
            return None
        choices.append(_net_choice(included, end, version))
    if entity.selector is not None:
        uid = entity.selector.uid
        ways: list[Matches] = [(InSet((end.address,), names.address_set(uid, version)),)]
        if has_ranges(uid):
            ways.append((InSet((end.address,), names.range_set(uid, version)),))
        choices.append(_Choice(ways))
    if entity.not_selector is not None:
        uid = entity.not_selector.uid
        outside = [InSet((end.address,), names.address_set(uid, version), invert=True)]
        if has_ranges(uid):
            outside.append(InSet((end.address,), names.range_set(uid, version), invert=True))
        choices.append(_Choice([tuple(outside)]))
    return choices


def _exclusion(
    entity: EntityCriteria, nets: list[Prefix], end: _End, version: int, protocol: int | None
) -> _Choice:
    """Return the one way to have nothing of what an entity excludes, *nets* among it."""
    ports = entity.not_ports
    without: list[Expression] = []
    sets: list[OwnSet] = []
    if len(ports) > _MAX_EXCLUDED:
        sets.append(_ports_set(ports, protocol))
        without.append(InSet((Field.L4PROTO, end.port), sets[-1].name, invert=True))
    else:
        without += [_port_match(end, each, invert=True) for each in ports]
    if len(nets) > _MAX_EXCLUDED:
        sets.append(_nets_set(nets, version))
        without.append(InSet((end.address,), sets[-1].name, invert=True))
    else:
        without += [InNetwork(end.address, network_of(net), invert=True) for net in nets]
    without += [
        InSet(_named_fields(end), names.address_set(each.uid, version), invert=True)
        for each in entity.not_named_ports
    ]
    return _Choice([tuple(without)], sets=tuple(sets))


def _ports_set(ports: tuple[PortRange, ...], protocol: int | None) -> OwnSet:
    """Return a set of ranges of ports, however wide."""
    assert protocol is not None  # validation: numeric ports come with a protocol
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ports):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    ranges = tuple(Range(_port_key(protocol, a), _port_key(protocol, b)) for a, b in joined)
    kind = Set((KeyType.PROTOCOL, KeyType.PORT), interval=True)
    return OwnSet(f"not-ports-{names.content_hash(repr(ranges))}", kind, ranges)


def _nets_set(nets: list[Prefix], version: int) -> OwnSet:
    ranges = tuple(Range(first, last) for first, last in merged(nets))
    name = f"not-nets{version}-{names.content_hash(repr(ranges))}"
    return OwnSet(name, Set((ADDRESS_KEY[version],), interval=True), ranges)


def _port_key(protocol: int, port: int) -> bytes:
    """Return protocol and port as the kernel concatenates them."""
    return bytes((protocol, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0"


def _of_version(nets: tuple[Prefix, ...], version: int) -> list[Prefix]:
    return [net for net in nets if (len(net.network) == 4) == (version == 4)]


def _net_choice(nets: list[Prefix], end: _End, version: int) -> _Choice:
    if any(net.length == 0 for net in nets):
        return _Choice([()])

    def compact() -> tuple[list[Matches], OwnSet | None]:
        ranges = tuple(Range(first, last) for first, last in merged(nets))
        name = f"nets{version}-{end.set_suffix(ranges)}"
        own = OwnSet(name, Set((ADDRESS_KEY[version],), interval=True), ranges)
        return [(InSet((end.address,), name),)], own

    return _Choice([(InNetwork(end.address, network_of(net)),) for net in nets], compact)


def _port_choice(entity: EntityCriteria, end: _End, version: int, protocol: int | None) -> _Choice:
    named: list[Matches] = [
        (InSet(_named_fields(end), names.address_set(each.uid, version)),)
        for each in entity.named_ports
    ]
    ways: list[Matches] = [(_port_match(end, each),) for each in entity.ports]

    def compact() -> tuple[list[Matches], OwnSet | None]:
        assert protocol is not None  # validation: numeric ports come with a protocol
        small = [each for each in entity.ports if each.last - each.first < MAX_LISTED_RANGE]
        wide = [each for each in entity.ports if each not in small]
        listed = sorted({port for low, high in small for port in range(low, high + 1)})
        elements = tuple(_port_key(protocol, port) for port in listed)
        name = f"ports-{end.set_suffix(elements)}"
        own = OwnSet(name, Set((KeyType.PROTOCOL, KeyType.PORT)), elements)
        remaining: list[Matches] = [(_port_match(end, each),) for each in wide]
        listed_way: Matches = (InSet((Field.L4PROTO, end.port), name),)
        return [listed_way, *remaining, *named], own

    return _Choice([*ways, *named], compact if len(entity.ports) > 1 else None)


def _port_match(end: _End, ports: PortRange, *, invert: bool = False) -> Expression:
    if ports.first == ports.last:
        return port_is(end.port, ports.first, invert=invert)
    return InRange(end.port, ports.first, ports.last, invert=invert)


def _named_fields(end: _End) -> tuple[Field, ...]:
    return (end.address, Field.L4PROTO, end.port)

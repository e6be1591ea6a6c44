"""Rules that only allow, as few look-ups instead of a list to walk. Pure.

Where all rules of a policy's direction allow, their order cannot matter, and rules that differ in
one criterion are one rule with more values: of networks, or of ports of one protocol. `matches`
makes a set of either. Rules that differ in both, each network with ports of its own, become
elements of network, protocol and port; one look-up for each length of prefix finds them, because
what is looked up is the packet's address cut to that length.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.protocols import PORT_PROTOCOLS
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.rules import ANY, Action, EntityCriteria, PolicyRule

# A range of ports up to this size is listed port by port.
MAX_LISTED_RANGE: Final = 1024
# Networks times ports beyond this stay rules.
_MAX_ELEMENTS: Final = 65536
_WORTH_IT: Final = 2

PairElement = tuple[bytes, int, int]
"""A network, cut to its length, a protocol and a destination port."""


class Merged(Struct, frozen=True):
    """One rule that stands for those of a policy with these *indexes*.

    *frame* stays the same when the lists of the rule become longer or shorter.
    """

    rule: PolicyRule
    indexes: tuple[int, ...]
    frame: str = ""


class PairLookup(Struct, frozen=True):
    """Rules that allow networks of one prefix *length* ports of their own.

    *rule* has all other criteria; *outward* tells that the networks are of destinations. *frame*
    stays the same when elements come and go.
    """

    rule: PolicyRule
    indexes: tuple[int, ...]
    frame: str
    outward: bool
    length: int
    elements: tuple[PairElement, ...]


class _Item(NamedTuple):
    """What takes part in the grouping: a rule of one IP version, or several joined ones.

    *base* is a number for all criteria that are not named here. Networks None: any.
    """

    base: int
    protocol: int | None
    sources: tuple[Prefix, ...] | None
    destinations: tuple[Prefix, ...] | None
    ports: tuple[PortRange, ...]
    rule: PolicyRule
    indexes: tuple[int, ...]


def collapsed(
    rules: tuple[PolicyRule, ...], version: int
) -> tuple[list[Merged], list[PairLookup]] | None:
    """Return what to render for rules in one IP version; None: they have to be walked in order."""
    usable = [rule for rule in rules if rule.ip_version in (None, version)]
    if len(usable) < _WORTH_IT or any(rule.action is not Action.ALLOW for rule in rules):
        return None
    bases: dict[Hashable, int] = {}
    items = [item for rule in usable if (item := _item(rule, version, bases))]
    items, pairs = _pairs(items)
    items = _join(items, _ports_key, _joined_ports)
    items = _join(items, _sources_key, _joined_sources)
    items = _join(items, _destinations_key, _joined_destinations)
    return [_merged(item) for item in items], pairs


def _item(rule: PolicyRule, version: int, bases: dict[Hashable, int]) -> _Item | None:
    """Return a rule as it is in one IP version; None: it can match no such packet."""
    sources = _nets(rule.source, version)
    destinations = _nets(rule.destination, version)
    if sources == () or destinations == ():
        return None
    base = (
        rule.not_protocol,
        rule.icmp,
        rule.not_icmp,
        _rest(rule.source),
        rule.source.ports,
        _rest(rule.destination),
    )
    number = bases.setdefault(base, len(bases))
    ports = rule.destination.ports
    return _Item(number, rule.protocol, sources, destinations, ports, rule, (rule.index,))


def _nets(entity: EntityCriteria, version: int) -> tuple[Prefix, ...] | None:
    if entity.nets is None:
        return None
    nets = tuple(net for net in entity.nets if len(net.network) == (4 if version == 4 else 16))
    return None if any(net.length == 0 for net in nets) else tuple(dict.fromkeys(nets))


def _rest(entity: EntityCriteria) -> Hashable:
    """Return what an entity asks beside networks and ports; None: nothing."""
    if entity is ANY:
        return None
    rest = (
        entity.not_nets,
        entity.selector,
        entity.not_selector,
        entity.named_ports,
        entity.not_ports,
        entity.not_named_ports,
    )
    return rest if any(rest) else None


def _merged(item: _Item) -> Merged:
    if len(item.indexes) == 1:
        return Merged(item.rule, item.indexes)
    rule = _with(item.rule, item.protocol, item.sources, item.destinations, item.ports)
    return Merged(rule, item.indexes, repr(_with(item.rule, item.protocol, None, None, ())))


def _with(
    rule: PolicyRule,
    protocol: int | None,
    sources: tuple[Prefix, ...] | None,
    destinations: tuple[Prefix, ...] | None,
    ports: tuple[PortRange, ...],
) -> PolicyRule:
    """Return a rule with other criteria, and without what makes it one of a list."""
    return replace(
        rule,
        protocol=protocol,
        ip_version=None,
        source=replace(rule.source, nets=sources),
        destination=replace(rule.destination, nets=destinations, ports=ports),
        index=0,
        note="",
    )


# --- rules that differ in one criterion -------------------------------------------------------


def _join(
    items: list[_Item],
    key_of: Callable[[_Item], Hashable | None],
    joined: Callable[[list[_Item]], _Item],
) -> list[_Item]:
    """Join the items with the same key; those without any stay as they are."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        key = key_of(item)
        groups.setdefault(item.indexes if key is None else key, []).append(item)
    return [joined(group) if len(group) > 1 else group[0] for group in groups.values()]


def _ports_key(item: _Item) -> Hashable | None:
    if not item.ports or item.rule.destination.named_ports:
        return None
    return item.base, item.protocol, item.sources, item.destinations


def _sources_key(item: _Item) -> Hashable | None:
    if item.sources is None:
        return None
    return item.base, item.protocol, item.destinations, item.ports


def _destinations_key(item: _Item) -> Hashable | None:
    if item.destinations is None:
        return None
    return item.base, item.protocol, item.sources, item.ports


def _joined_ports(items: list[_Item]) -> _Item:
    ports = dict.fromkeys(ports for item in items for ports in item.ports)
    return items[0]._replace(ports=tuple(ports), indexes=_indexes(items))


def _joined_sources(items: list[_Item]) -> _Item:
    nets = dict.fromkeys(net for item in items for net in item.sources or ())
    return items[0]._replace(sources=tuple(nets), indexes=_indexes(items))


def _joined_destinations(items: list[_Item]) -> _Item:
    nets = dict.fromkeys(net for item in items for net in item.destinations or ())
    return items[0]._replace(destinations=tuple(nets), indexes=_indexes(items))


def _indexes(items: list[_Item]) -> tuple[int, ...]:
    return tuple(sorted({index for item in items for index in item.indexes}))


# --- networks with ports of their own ---------------------------------------------------------


def _pairs(items: list[_Item]) -> tuple[list[_Item], list[PairLookup]]:
    """Return the items that stay, and the look-ups that the others become."""
    groups: dict[tuple[int, bool], list[_Item]] = {}
    for item in items:
        if _has_pairs(item):
            groups.setdefault((item.base, item.sources is None), []).append(item)
    lookups: list[PairLookup] = []
    taken: set[tuple[int, ...]] = set()
    for (_, outward), members in groups.items():
        # Each of them joined with those that have the same networks, or the same ports.
        otherwise = min(
            len({(item.protocol, item.sources, item.destinations) for item in members}),
            len({(item.protocol, item.ports) for item in members}),
        )
        lengths = {net.length for item in members for net in _networks(item)}
        size = sum(
            len(_networks(item)) * (ports.last - ports.first + 1)
            for item in members
            for ports in item.ports
        )
        if len(lengths) < otherwise and size <= _MAX_ELEMENTS:
            lookups += [_lookup(members, outward, length) for length in sorted(lengths)]
            taken.update(item.indexes for item in members)
    return [item for item in items if item.indexes not in taken], lookups


def _has_pairs(item: _Item) -> bool:
    """Tell whether an item asks for networks of one end and for ports that can be listed."""
    return (
        (item.sources is None) != (item.destinations is None)
        and item.protocol in PORT_PROTOCOLS
        and bool(item.ports)
        and not item.rule.destination.named_ports
        and not item.rule.destination.not_ports
        and not item.rule.source.ports
        and not item.rule.source.not_ports
        and all(ports.last - ports.first < MAX_LISTED_RANGE for ports in item.ports)
    )


def _networks(item: _Item) -> tuple[Prefix, ...]:
    return item.sources or item.destinations or ()


def _lookup(members: list[_Item], outward: bool, length: int) -> PairLookup:
    elements: dict[PairElement, None] = {}
    used = []
    for item in members:
        nets = [net for net in _networks(item) if net.length == length]
        if not nets:
            continue
        used.append(item)
        protocol = item.protocol or 0
        for ports in item.ports:
            for port in range(ports.first, ports.last + 1):
                elements.update(((net.network, protocol, port), None) for net in nets)
    rule = _with(members[0].rule, None, None, None, ())
    frame = f"{outward} {length} {rule!r}"
    return PairLookup(rule, _indexes(used), frame, outward, length, tuple(elements))

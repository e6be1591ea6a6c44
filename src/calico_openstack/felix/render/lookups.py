"""Rules that only allow, as few look-ups instead of a list to walk. Pure.

Where all rules of a policy's direction allow, their order cannot matter, and rules that differ in
one criterion are one rule with more values: of networks, or of ports of one protocol. `render`
makes a set of either. Rules that differ in both, each network with ports of its own, become
elements of network, protocol and port; one look-up for each length of prefix finds them, because
what is looked up is the packet's address cut to that length.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from calico_openstack.datamodel.protocols import PORT_PROTOCOLS
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.rules import Action, EntityCriteria, PolicyRule

# A range of ports up to this size is listed port by port.
MAX_LISTED_RANGE: Final = 1024
# Networks times ports beyond this stay rules.
_MAX_ELEMENTS: Final = 65536

_WORTH_IT: Final = 2
_SIDES: Final = ("source", "destination")


@dataclass(frozen=True, slots=True)
class Merged:
    """One rule that stands for those of a policy with these *indexes*."""

    rule: PolicyRule
    indexes: tuple[int, ...]

    @property
    def frame(self) -> object:
        """What stays the same when the lists of the rule become longer or shorter."""
        rule = self.rule
        for side in _SIDES:
            rule = _with(rule, side, nets=None)
        return _with(rule, "destination", ports=())


@dataclass(frozen=True, slots=True)
class PairLookup:
    """Rules that allow networks of one prefix *length* ports of their own.

    *rule* has all other criteria, *side* tells which end the networks are of. *elements* are
    network, protocol and destination port, each with the indexes of the rules that it comes from.
    """

    rule: PolicyRule
    side: str
    length: int
    elements: dict[tuple[bytes, int, int], tuple[int, ...]] = field(hash=False)

    @property
    def frame(self) -> object:
        """What stays the same when elements come and go."""
        return self.rule, self.side, self.length

    @property
    def indexes(self) -> tuple[int, ...]:
        """The indexes of all rules that the look-up stands for."""
        return tuple(sorted({index for some in self.elements.values() for index in some}))


def collapsed(
    rules: tuple[PolicyRule, ...], version: int
) -> tuple[list[Merged], list[PairLookup]] | None:
    """Return what to render for rules in one IP version; None: they have to be walked in order."""
    if any(rule.action is not Action.ALLOW for rule in rules):
        return None
    usable = [rule for rule in rules if rule.ip_version in (None, version)]
    if len(usable) < _WORTH_IT:
        return None
    usable = [found for rule in usable if (found := _of_version(rule, version)) is not None]
    merged = [Merged(replace(rule, index=0, note=""), (rule.index,)) for rule in usable]
    merged, pairs = _pairs(merged)
    merged = _join(merged, _without_ports, _joined_ports)
    for side in _SIDES:
        merged = _join(merged, partial(_without_nets, side), partial(_joined_nets, side))
    notes = {rule.index: rule.note for rule in rules}
    return [_annotated(each, notes) for each in merged], pairs


def _annotated(merged: Merged, notes: dict[int, str]) -> Merged:
    """Give a rule that stands for itself its index and annotations back."""
    if len(merged.indexes) != 1:
        return merged
    (index,) = merged.indexes
    return Merged(replace(merged.rule, index=index, note=notes[index]), merged.indexes)


def _of_version(rule: PolicyRule, version: int) -> PolicyRule | None:
    """Return a rule as it is in one IP version; None: it can match no such packet."""
    for side in _SIDES:
        entity: EntityCriteria = getattr(rule, side)
        if entity.nets is None:
            continue
        nets = tuple(net for net in entity.nets if len(net.network) == (4 if version == 4 else 16))
        if not nets:
            return None
        whole = any(net.length == 0 for net in nets)
        rule = _with(rule, side, nets=None if whole else tuple(dict.fromkeys(nets)))
    return replace(rule, ip_version=None)


# --- rules that differ in one criterion -------------------------------------------------------


def _join(
    merged: list[Merged],
    without: Callable[[PolicyRule], PolicyRule | None],
    joined: Callable[[PolicyRule, PolicyRule], PolicyRule],
) -> list[Merged]:
    """Join the rules that are the same *without* a criterion; None: a rule does not take part."""
    result: dict[Hashable, Merged] = {}
    for each in merged:
        rest = without(each.rule)
        key: Hashable = rest if rest is not None else each.indexes
        known = result.get(key)
        if known is None:
            result[key] = each
        else:
            indexes = tuple(sorted({*known.indexes, *each.indexes}))
            result[key] = Merged(joined(known.rule, each.rule), indexes)
    return list(result.values())


def _without_ports(rule: PolicyRule) -> PolicyRule | None:
    destination = rule.destination
    if not destination.ports or destination.named_ports:
        return None
    return _with(rule, "destination", ports=())


def _joined_ports(rule: PolicyRule, other: PolicyRule) -> PolicyRule:
    ports = dict.fromkeys((*rule.destination.ports, *other.destination.ports))
    return _with(rule, "destination", ports=tuple(ports))


def _without_nets(side: str, rule: PolicyRule) -> PolicyRule | None:
    entity: EntityCriteria = getattr(rule, side)
    return None if entity.nets is None else _with(rule, side, nets=None)


def _joined_nets(side: str, rule: PolicyRule, other: PolicyRule) -> PolicyRule:
    nets = (*_nets(side, rule), *_nets(side, other))
    return _with(rule, side, nets=tuple(dict.fromkeys(nets)))


def _nets(side: str, rule: PolicyRule) -> tuple[Prefix, ...]:
    entity: EntityCriteria = getattr(rule, side)
    return entity.nets or ()


# --- networks with ports of their own ---------------------------------------------------------


def _pairs(merged: list[Merged]) -> tuple[list[Merged], list[PairLookup]]:
    """Return the rules that stay, and the look-ups that the others become."""
    groups: dict[tuple[PolicyRule, str], list[Merged]] = {}
    for each in merged:
        if place := _pair_place(each.rule):
            groups.setdefault(place, []).append(each)
    lookups: list[PairLookup] = []
    taken: set[tuple[int, ...]] = set()
    for (rest, side), members in groups.items():
        found = _lookups(rest, side, members)
        # Each of them joined with those that have the same networks, or the same ports.
        otherwise = min(
            len({_nets(side, each.rule) for each in members}),
            len({(each.rule.protocol, each.rule.destination.ports) for each in members}),
        )
        size = sum(len(lookup.elements) for lookup in found)
        if len(found) < otherwise and size <= _MAX_ELEMENTS:
            lookups += found
            taken.update(each.indexes for each in members)
    return [each for each in merged if each.indexes not in taken], lookups


def _pair_place(rule: PolicyRule) -> tuple[PolicyRule, str] | None:
    """Return what a rule asks beside networks of one side and ports, and which side it is."""
    destination = rule.destination
    sides = [side for side in _SIDES if getattr(rule, side).nets is not None]
    if (
        len(sides) != 1
        or rule.protocol not in PORT_PROTOCOLS
        or not destination.ports
        or destination.named_ports
        or any(ports.last - ports.first >= MAX_LISTED_RANGE for ports in destination.ports)
        or rule.source.ports
        or rule.source.not_ports
        or destination.not_ports
    ):
        return None
    rest = _with(replace(rule, protocol=None), "destination", ports=())
    return _with(rest, sides[0], nets=None), sides[0]


def _lookups(rest: PolicyRule, side: str, members: list[Merged]) -> list[PairLookup]:
    by_length: dict[int, dict[tuple[bytes, int, int], tuple[int, ...]]] = {}
    for each in members:
        rule = each.rule
        assert rule.protocol is not None
        for net in _nets(side, rule):
            elements = by_length.setdefault(net.length, {})
            for ports in rule.destination.ports:
                for port in range(ports.first, ports.last + 1):
                    key = (net.network, rule.protocol, port)
                    elements[key] = (*elements.get(key, ()), *each.indexes)
    return [
        PairLookup(rest, side, length, elements) for length, elements in sorted(by_length.items())
    ]


def _with(rule: PolicyRule, side: str, **changes: object) -> PolicyRule:
    entity: EntityCriteria = getattr(rule, side)
    changed = replace(entity, **changes)  # type: ignore[arg-type]
    return replace(rule, source=changed) if side == "source" else replace(rule, destination=changed)

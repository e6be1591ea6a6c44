"""What a label map must hold for a selector to have a chance of matching it.

An index uses these to look at few label maps instead of at all. They never change a result: a
map that satisfies the selector satisfies its restrictions too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Final

from calico_openstack.datamodel.selector.nodes import (
    And,
    Contains,
    EndsWith,
    Equal,
    Has,
    In,
    Node,
    Not,
    NotEqual,
    NotIn,
    Or,
    StartsWith,
)

Restrictions = Mapping[str, frozenset[str] | None]
"""Label names that must be present, each with the values that it may have; None is any value.

An empty set of values says that nothing matches.
"""

_NONE: Final[Restrictions] = {}


def restrictions(node: Node) -> Restrictions:
    """Return what a label map must hold to match the tree."""
    return _restrictions(node, negated=False)


def _restrictions(node: Node, *, negated: bool) -> Restrictions:
    if isinstance(node, Not):
        return _restrictions(node.operand, negated=not negated)
    if isinstance(node, And | Or):
        parts = (_restrictions(operand, negated=negated) for operand in node.operands)
        # De Morgan: the negation of a conjunction is a disjunction of negations.
        return _all_of(parts) if isinstance(node, And) != negated else _any_of(parts)
    return _leaf_restrictions(node, negated)


def _leaf_restrictions(node: Node, negated: bool) -> Restrictions:
    match node:
        case Equal(label, value) if not negated:
            return {label: frozenset((value,))}
        case NotEqual(label, value) if negated:
            return {label: frozenset((value,))}
        case In(label, values) if not negated:
            return {label: frozenset(values)}
        case NotIn(label, values) if negated:
            return {label: frozenset(values)}
        case Has(label) | Contains(label) | StartsWith(label) | EndsWith(label) if not negated:
            return {label: None}
    return _NONE


def _all_of(parts: Iterable[Restrictions]) -> Restrictions:
    """Every part must hold: all labels, with the values that all parts allow."""
    result: dict[str, frozenset[str] | None] = {}
    for part in parts:
        for label, values in part.items():
            known = result.get(label)
            result[label] = values if known is None else known if values is None else known & values
    return result


def _any_of(parts: Iterable[Restrictions]) -> Restrictions:
    """One part must hold: the labels that each part restricts, with the values of all of them."""
    every = list(parts)
    possible = [part for part in every if not _impossible(part)]
    if not possible:
        return every[0]
    combine: Callable[[Restrictions, Restrictions], Restrictions] = _either
    return reduce(combine, possible)


def _either(one: Restrictions, other: Restrictions) -> Restrictions:
    result: dict[str, frozenset[str] | None] = {}
    for label in one.keys() & other.keys():
        left, right = one[label], other[label]
        result[label] = None if left is None or right is None else left | right
    return result


def _impossible(part: Restrictions) -> bool:
    return any(values is not None and not values for values in part.values())

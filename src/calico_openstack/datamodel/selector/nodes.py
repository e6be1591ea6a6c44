"""The syntax tree of selectors."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Has(msgspec.Struct, frozen=True, gc=False):
    """``has(label)``: the label is present."""

    label: str


class Equal(msgspec.Struct, frozen=True, gc=False):
    """``label == "value"``: the label is present with that value."""

    label: str
    value: str


class NotEqual(msgspec.Struct, frozen=True, gc=False):
    """``label != "value"``: the label is absent or has another value."""

    label: str
    value: str


class In(msgspec.Struct, frozen=True, gc=False):
    """``label in {...}``: present with one of the values, which are sorted and distinct."""

    label: str
    values: tuple[str, ...]


class NotIn(msgspec.Struct, frozen=True, gc=False):
    """``label not in {...}``: absent or with none of the values, which are sorted and distinct."""

    label: str
    values: tuple[str, ...]


class Contains(msgspec.Struct, frozen=True, gc=False):
    """``label contains "text"``: present, and the text is part of its value."""

    label: str
    text: str


class StartsWith(msgspec.Struct, frozen=True, gc=False):
    """``label starts with "text"``: present, and its value begins with the text."""

    label: str
    text: str


class EndsWith(msgspec.Struct, frozen=True, gc=False):
    """``label ends with "text"``: present, and its value ends with the text."""

    label: str
    text: str


class All(msgspec.Struct, frozen=True, gc=False):
    """``all()``: always true."""


class Global(msgspec.Struct, frozen=True, gc=False):
    """``global()``: true; in a rule's namespace selector it means "outside namespaces"."""


class Not(msgspec.Struct, frozen=True, gc=False):
    """``!operand``. The operand is never itself a negation."""

    operand: Node


class And(msgspec.Struct, frozen=True, gc=False):
    """``(a && b && ...)``: at least two operands."""

    operands: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True, gc=False):
    """``(a || b || ...)``: at least two operands."""

    operands: tuple[Node, ...]


Node = (
    Has
    | Equal
    | NotEqual
    | In
    | NotIn
    | Contains
    | StartsWith
    | EndsWith
    | All
    | Global
    | Not
    | And
    | Or
)


def value_set(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values of ``In`` and ``NotIn``: distinct, sorted by the bytes of their UTF-8."""
    # Code points and their UTF-8 sort alike.
    return tuple(sorted(set(values)))


def negation(node: Node) -> Node:
    """Return the negation of a node; two negations vanish."""
    return node.operand if isinstance(node, Not) else Not(node)

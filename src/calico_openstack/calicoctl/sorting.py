"""``get --sort-by``: the order in which resources are shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_interface
from typing import Any, Final

from calico_openstack.calicoctl.kinds import Row, columns_named
from calico_openstack.datamodel import Resource

_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_DIGITS: Final = re.compile(r"([0-9]+)")

SortKey = tuple[int, Any]
"""A kind of value (numbers, addresses, text, nothing) and what compares within it."""


class SortError(ValueError):
    """The resources cannot be put in the order that was asked for."""


def in_order(rows: Iterable[Row], cls: type[Resource], by: str) -> list[Row]:
    """Return *rows* of a kind in the order of a column's heading or of a member's path.

    A path is written ``.spec.order`` or ``{.spec.order}``. Numbers and addresses are in their own
    order, digits in text count as numbers (host-2 before host-10), what has no value comes last.
    Raises `UnknownColumnError` for an unknown heading and `SortError` if no row has the member.
    """
    path = by.removeprefix("{").removesuffix("}")
    if "." not in path:
        (column,) = columns_named(cls, [path])
        return sorted(rows, key=lambda row: sort_key(column.cell(row)))
    names = path.strip(".").split(".")
    found = [(_member_at(row, names), row) for row in rows]
    if found and all(value is None for value, _ in found):
        raise SortError(
            f"--sort-by {by}: none of these {cls.PLURAL} has such a member; -o yaml shows which "
            "they have"
        )
    return [row for _, row in sorted(found, key=lambda pair: sort_key(pair[0]))]


def sort_key(value: Any) -> SortKey:
    """Return what *value* is compared by."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    text = "" if value is None else str(value)
    if not text:
        return 3, 0
    if _NUMBER.fullmatch(text):
        return 0, float(text)
    try:
        address = ip_interface(text.partition(",")[0])
    except ValueError:
        # Splitting at a group yields text and digits in turn, so that like compares with like.
        parts = _DIGITS.split(text)
        return 2, [int(part) if part.isdecimal() else part for part in parts]
    return 1, (address.version, int(address), address.network.prefixlen)


def _member_at(row: Row, names: Iterable[str]) -> Any:
    value: Any = row
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value

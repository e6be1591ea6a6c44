"""Ports of policy rules: a number, a range ``"lo:hi"`` or the name of an endpoint's port."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_PORT: Final = 65535

_RANGE: Final = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?", re.ASCII)
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


class PortRange(NamedTuple):
    """Ports ``first`` to ``last``, both included."""

    first: int
    last: int


def parse_port(value: int | str) -> PortRange | str | None:
    """Return the ports that a rule's port entry means: numbers, or the name of a port.

    None for what is neither: numbers above 65535, a range that runs backwards, odd characters.
    """
    if isinstance(value, int):
        return PortRange(value, value) if 0 <= value <= MAX_PORT else None
    match = _RANGE.fullmatch(value)
    if match is None:
        return value if _NAME.fullmatch(value) else None
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    return PortRange(first, last) if first <= last <= MAX_PORT else None


def normalised_port(value: int | str) -> int | str:
    """Return a port entry as it is written: single ports as a number. The rest is left alone."""
    if isinstance(value, int):
        return value
    port = parse_port(value)
    if isinstance(port, PortRange):
        return port.first if port.first == port.last else f"{port.first}:{port.last}"
    return value

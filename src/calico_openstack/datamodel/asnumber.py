"""Autonomous system numbers: plain, or dotted as ``hi.lo`` (RFC 5396)."""

from __future__ import annotations

import re
from typing import Final

MAX_AS_NUMBER: Final = 2**32 - 1

_PLAIN: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_DOTTED: Final = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})", re.ASCII)


def as_number(value: int | str) -> int | None:
    """Return an AS number (0 to 4294967295) from its stored form, None if it is none."""
    if isinstance(value, int):
        return value if 0 <= value <= MAX_AS_NUMBER else None
    if _PLAIN.fullmatch(value):
        return as_number(int(value))
    dotted = _DOTTED.fullmatch(value)
    if dotted is None:
        return None
    high, low = int(dotted[1]), int(dotted[2])
    return (high << 16) + low if max(high, low) <= 0xFFFF else None


def normalised_as_number(value: int | str) -> int | str:
    """Return an AS number as it is written, as a number. What is none is left alone."""
    number = as_number(value)
    return value if number is None else number

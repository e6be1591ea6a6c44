"""Durations in Go's notation, as v3 resources spell them: ``1m30s``, ``250ms``, ``1.5h``."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # micro sign
    "μs": 1e-6,  # Greek letter mu
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_MAX_LENGTH: Final = 100
# Go counts nanoseconds in 63 bits.
_MAX_SECONDS: Final = (2**63 - 1) / 1e9


def parse_duration(text: str) -> float | None:
    """Return a duration in seconds, None if the text is none."""
    sign = -1.0 if text.startswith("-") else 1.0
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return 0.0
    if not unsigned or len(unsigned) > _MAX_LENGTH:
        return None
    seconds, position = 0.0, 0
    while position < len(unsigned):
        part = _PART.match(unsigned, position)
        if part is None:
            return None
        seconds += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    return sign * seconds if seconds <= _MAX_SECONDS else None

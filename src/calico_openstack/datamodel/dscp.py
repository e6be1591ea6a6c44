"""Differentiated services code points: a number from 0 to 63 or one of the standard names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DSCP_ANNOTATION: Final = "qos.projectcalico.org/dscp"
"""The annotation of a host endpoint with the code point of what it sends out of the cluster."""

MAX_DSCP: Final = 63

# Class selectors, assured and expedited forwarding (RFC 2474, 2597, 3246). The datastore knows
# neither CS7 nor LE.
DSCP_VALUES: Final = {
    "DF": 0,
    "EF": 46,
    **{f"AF{cls}{drop}": 8 * cls + 2 * drop for cls in (1, 2, 3, 4) for drop in (1, 2, 3)},
    **{f"CS{cls}": 8 * cls for cls in range(7)},
}


def dscp_value(value: int | str) -> int | None:
    """Return the code point that ``value`` names, None if it names none."""
    if isinstance(value, str):
        if value in DSCP_VALUES:
            return DSCP_VALUES[value]
        if not (value.isascii() and value.isdecimal() and len(value) <= 2):
            return None
        value = int(value)
    return value if 0 <= value <= MAX_DSCP else None


def annotated_dscp(annotations: Mapping[str, str]) -> int | None:
    """Return the code point that annotations ask for, None if they ask for none or for nonsense."""
    text = annotations.get(DSCP_ANNOTATION)
    return None if text is None else dscp_value(text)

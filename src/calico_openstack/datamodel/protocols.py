"""IP protocols as policy rules and named ports spell them: a name or a number."""

from __future__ import annotations

from typing import Final

# The names that the datastore knows, in the spelling in which they are written.
PROTOCOL_NUMBERS: Final = {
    "ICMP": 1,
    "TCP": 6,
    "UDP": 17,
    "ICMPv6": 58,
    "SCTP": 132,
    "UDPLite": 136,
}
PROTOCOL_NAMES: Final = {number: name for name, number in PROTOCOL_NUMBERS.items()}
PORT_PROTOCOLS: Final = frozenset({6, 17, 132})
"""Numbers of the protocols whose rules may name ports: TCP, UDP and SCTP."""

ICMP: Final = 1
ICMPV6: Final = 58

_SPELLING: Final = {name.lower(): name for name in PROTOCOL_NUMBERS}
# Longer text is no protocol number, and int() of very long text is slow.
_MAX_DIGITS: Final = 3


def normalised_protocol(value: int | str) -> int | str:
    """Return a protocol as it is written: known names re-cased, numeric text as a number.

    What is neither is returned as it is; ``protocol_number`` tells that it is unknown.
    """
    if isinstance(value, int):
        return value
    if len(value) <= _MAX_DIGITS and value.isascii() and value.isdecimal():
        return int(value)
    return _SPELLING.get(value.lower(), value) if len(value) <= len("UDPLite") else value


def protocol_number(value: int | str) -> int | None:
    """Return the number (0 to 255) that a protocol stands for, None if it stands for none."""
    protocol = normalised_protocol(value)
    if isinstance(protocol, str):
        return PROTOCOL_NUMBERS.get(protocol)
    return protocol if 0 <= protocol <= 255 else None

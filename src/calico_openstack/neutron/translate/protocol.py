"""Neutron's names of IP protocols.

Names and numbers are those of the Networking API (security group rules), which follows IANA's
registry with a few names of its own.
"""

from __future__ import annotations

from typing import Final

ICMP: Final = 1
ICMPV6: Final = 58

# "any", an absent protocol and -1 mean every protocol; see also ``number``.
_ANY: Final = frozenset({"any", "-1", ""})

_NUMBERS: Final = {
    "hopopt": 0,
    "ip": 0,
    "icmp": ICMP,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "egp": 8,
    "udp": 17,
    "dccp": 33,
    "ipv6-encap": 41,
    "ipv6-route": 43,
    "ipv6-frag": 44,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": ICMPV6,
    "icmpv6": ICMPV6,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ospf": 89,
    "vrrp": 112,
    "pgm": 113,
    "sctp": 132,
    "udplite": 136,
}


def is_any(protocol: str | None) -> bool:
    """Tell whether a rule is for every protocol."""
    return protocol is None or protocol.lower() in _ANY


def number(protocol: str, ethertype: str) -> int | None:
    """Return the number (0 to 255) of a protocol, None for one that is unknown.

    In a rule for IPv6 Neutron understands ICMP, by name or number, as ICMPv6.
    """
    found = _NUMBERS.get(protocol.lower())
    if found is None:
        if not (protocol.isascii() and protocol.isdecimal() and len(protocol) <= 3):
            return None
        found = int(protocol)
    if found == ICMP and ethertype == "IPv6":
        return ICMPV6
    return found if found <= 255 else None

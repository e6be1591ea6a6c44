"""BGP communities as resources write them, and as BIRD does. Pure."""

from __future__ import annotations


def community_value(text: str) -> tuple[int, ...] | None:
    """Read ``aa:nn`` (16 bits each) or ``aa:nn:mm`` (32 bits each); None if it is neither."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    value = tuple(int(part) for part in parts)
    limit = 0xFFFF if len(parts) == 2 else 0xFFFFFFFF
    return value if max(value) <= limit else None


def community_literal(value: tuple[int, ...]) -> tuple[str, str]:
    """Return a community in BIRD's notation and the attribute that holds its kind."""
    attribute = "bgp_community" if len(value) == 2 else "bgp_large_community"
    return f"({', '.join(map(str, value))})", attribute

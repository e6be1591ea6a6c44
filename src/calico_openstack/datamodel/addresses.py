"""Addresses and networks in the notation of the datastore.

Stricter than ``ipaddress``: no net masks in dotted form, no scopes, and no IPv4 addresses in
IPv6 clothes, which other readers take for IPv4.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128" has 49 characters.
_MAX_LENGTH: Final = 49
_OCTETS: Final = {str(number): number for number in range(256)}
_HEX: Final = r"[0-9a-fA-F]{1,4}"
# The usual form: with "::" inside, not beginning with 0 as IPv4-mapped addresses do.
_IPV6_HOST: Final = re.compile(
    rf"([1-9a-fA-F][0-9a-fA-F]{{0,3}}(?::{_HEX}){{0,5}})::({_HEX}(?::{_HEX}){{0,5}})?(?:/128)?"
)
_IPV6_GROUPS: Final = 8
_PREFIX_LENGTH: Final = re.compile(r"[0-9]{1,3}")


def parse_address(text: str) -> Address | None:
    """Return the address that ``text`` is, None if it is none."""
    return None if len(text) > _MAX_LENGTH else _parse_address(text)


# Gateways and the addresses of hosts come again and again.
@lru_cache(16384)
def _parse_address(text: str) -> Address | None:
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text)
    except AddressValueError:
        return None
    return None if address.scope_id is not None or address.ipv4_mapped else address


def parse_network(text: str, *, strict: bool = False) -> Network | None:
    """Return the network that ``text`` is, None if it is none.

    A bare address is a network of one address. Unless ``strict``, bits beyond the prefix are
    cleared; if ``strict``, they make it no network.
    """
    address_text, slash, length = text.partition("/")
    address = parse_address(address_text)
    if address is None or (slash and not _PREFIX_LENGTH.fullmatch(length)):
        return None
    prefix = int(length) if slash else address.max_prefixlen
    try:
        if isinstance(address, IPv4Address):
            return IPv4Network((int(address), prefix), strict=strict)
        return IPv6Network((int(address), prefix), strict=strict)
    except (NetmaskValueError, ValueError):
        return None


def is_host_network(text: str) -> bool:
    """Tell whether ``text`` is one address: bare, or with the full prefix length."""
    return packed_host(text) is not None


def packed_host(text: str) -> bytes | None:
    """Return one address, bare or with the full prefix length, packed; None if it is none.

    Packed is four or sixteen bytes in network order.
    """
    # Every endpoint asks this: the usual forms are settled without building an address.
    if ":" not in text:
        if text.endswith("/32"):
            text = text[:-3]
        try:
            first, second, third, fourth = text.split(".")
            return bytes((_OCTETS[first], _OCTETS[second], _OCTETS[third], _OCTETS[fourth]))
        except (ValueError, KeyError):
            return None
    usual = _IPV6_HOST.fullmatch(text)
    # At least two groups must be left for "::" to stand for.
    if usual is not None and text.count(":") <= _IPV6_GROUPS - 2:
        head, tail = usual[1].split(":"), usual[2].split(":") if usual[2] else []
        missing = ["0"] * (_IPV6_GROUPS - len(head) - len(tail))
        return bytes.fromhex("".join([group.zfill(4) for group in (*head, *missing, *tail)]))
    address = parse_address(text.removesuffix("/128"))
    return None if address is None else address.packed

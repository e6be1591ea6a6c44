"""Addresses and prefixes as packed bytes, four for IPv4 and sixteen for IPv6, network order.

A hundred thousand of them live in one process and become set elements as they are, so they are
kept in the smallest form and parsed without building objects on the way.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from calico_openstack.datamodel.addresses import packed_host


class Prefix(NamedTuple):
    """A network: its packed address with all host bits zero, and its prefix length."""

    network: bytes
    length: int

    @property
    def bits(self) -> int:
        """Length of an address of this family in bits."""
        return len(self.network) * 8

    @property
    def first(self) -> int:
        """The lowest address as an integer."""
        return int.from_bytes(self.network, "big")

    @property
    def last(self) -> int:
        """The highest address as an integer."""
        return self.first | ((1 << (self.bits - self.length)) - 1)

    def covers(self, address: bytes) -> bool:
        """Tell whether the packed *address* is of this family and lies within."""
        shift = self.bits - self.length
        return len(address) == len(self.network) and (
            int.from_bytes(address, "big") >> shift == self.first >> shift
        )

    def __str__(self) -> str:
        return f"{ip_address(self.network)}/{self.length}"


def ip_version(packed: bytes) -> int:
    """Return 4 or 6 for a packed address."""
    return 4 if len(packed) == 4 else 6


def pack_address(text: str) -> bytes:
    """Pack an address; a full-length prefix ("/32", "/128") may follow. Raises ValueError."""
    packed = packed_host(text)
    if packed is not None:
        return packed
    # What no endpoint may have, other things may: IPv4 addresses in IPv6 notation.
    return IPv6Address(text.removesuffix("/128")).packed


def pack_prefix(text: str) -> Prefix:
    """Pack a network or a single address; host bits are cleared. Raises ValueError."""
    return prefix_of(ip_network(text, strict=False))


def prefix_of(network: IPv4Network | IPv6Network) -> Prefix:
    """Pack a network."""
    return Prefix(network.network_address.packed, network.prefixlen)


def network_of(prefix: Prefix) -> IPv4Network | IPv6Network:
    """Unpack a prefix."""
    return ip_network((prefix.network, prefix.length))


def unpack_address(packed: bytes) -> IPv4Address | IPv6Address:
    """Unpack an address."""
    return ip_address(packed)

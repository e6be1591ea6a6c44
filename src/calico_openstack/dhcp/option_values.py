"""Values of DHCP options, taken apart by what they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final

from calico_openstack.datamodel.invalid import quoted
from calico_openstack.dhcp.names import is_domain_name
from calico_openstack.dhcp.option_codes import Kind

_TEXT: Final = re.compile(r"[ -~]{1,255}")
_OCTETS: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,254}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,10}")
_RANGES: Final = {
    Kind.BYTE: (0, 0xFF),
    Kind.WORD: (0, 0xFFFF),
    Kind.LONG: (-0x80000000, 0xFFFFFFFF),
}
# An option has at most 255 octets in DHCPv4 (RFC 2132 section 2); a line of dnsmasq's files has at
# most 1024 characters, and what is longer would be read as another line.
_MOST_OCTETS: Final = 255
_MOST_CHARACTERS: Final = 800


@dataclass(frozen=True, slots=True)
class Value:
    """The parts of a value, addresses of IPv6 in brackets, and about how long it is when sent."""

    items: tuple[str, ...]
    octets: int
    is_text: bool = False


def read_value(kind: Kind, text: str, version: int) -> Value:
    """Return what *text* stands for; raises ValueError with the reason if that is nothing."""
    try:
        value = _READERS[kind](text, version)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not {kind.value}") from None
    if value.octets > _MOST_OCTETS or sum(map(len, value.items)) > _MOST_CHARACTERS:
        raise ValueError("the value is too long")
    return value


# The readers of the kinds raise ValueError for what is none of the kind.


def _text(text: str, _version: int) -> Value:
    if not _TEXT.fullmatch(text):
        raise ValueError
    return Value((text,), len(text), is_text=True)


def _texts(text: str, version: int) -> Value:
    parts = tuple(_text(part, version).items[0] for part in _parts(text))
    return Value(parts, sum(len(part) + 2 for part in parts), is_text=True)


def _domains(text: str, _version: int) -> Value:
    names = tuple(part.removesuffix(".") for part in _parts(text))
    if not all(map(is_domain_name, names)):
        raise ValueError
    return Value(names, sum(len(name) + 2 for name in names))


def _number(kind: Kind) -> Callable[[str, int], Value]:
    low, high = _RANGES[kind]

    def read(text: str, _version: int) -> Value:
        if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return Value((str(int(text)),), 4)

    return read


def _octets(text: str, _version: int) -> Value:
    if not _OCTETS.fullmatch(text):
        raise ValueError
    return Value((text,), (len(text) + 1) // 3)


def _addresses(text: str, version: int) -> Value:
    found = [ip_address(part.removeprefix("[").removesuffix("]")) for part in _parts(text)]
    # "%" begins a zone, which means nothing to others.
    if any(address.version != version or "%" in str(address) for address in found):
        raise ValueError
    written = tuple(str(address) if version == 4 else f"[{address}]" for address in found)
    return Value(written, len(found) * found[0].max_prefixlen // 8)


def _address(text: str, version: int) -> Value:
    value = _addresses(text, version)
    if len(value.items) != 1:
        raise ValueError
    return value


def _pairs(text: str, version: int) -> Value:
    value = _addresses(text, version)
    if len(value.items) % 2:
        raise ValueError
    return value


def _routes(text: str, _version: int) -> Value:
    parts = _parts(text)
    networks = [IPv4Network(part, strict=False) for part in parts[::2]]
    next_hops = [IPv4Address(part) for part in parts[1::2]]
    items = [str(item) for route in zip(networks, next_hops, strict=True) for item in route]
    # A prefix length, as many octets of the network as that needs, and the next hop (RFC 3442).
    return Value(tuple(items), sum(5 + (network.prefixlen + 7) // 8 for network in networks))


def _any(text: str, version: int) -> Value:
    """Take a value of an unknown kind for what it looks like, as dnsmasq does."""
    for reader in (_addresses, _number(Kind.LONG), _octets):
        try:
            return reader(text, version)
        except ValueError:
            continue
    return _text(text, version)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


_READERS: Final[dict[Kind, Callable[[str, int], Value]]] = {
    Kind.ADDRESS: _address,
    Kind.ADDRESSES: _addresses,
    Kind.PAIRS: _pairs,
    Kind.ROUTES: _routes,
    Kind.TEXT: _text,
    Kind.TEXTS: _texts,
    Kind.DOMAINS: _domains,
    Kind.BYTE: _number(Kind.BYTE),
    Kind.WORD: _number(Kind.WORD),
    Kind.LONG: _number(Kind.LONG),
    Kind.ANY: _any,
}

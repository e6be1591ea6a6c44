"""The networks' interfaces in rtnetlink's form, both ways (rtnetlink(7)). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

from calico_openstack.netlink.protocol import (
    attribute,
    attribute_string,
    attributes,
    nested,
    string,
)
from calico_openstack.netlink.rtnetlink import AF_INET, AF_INET6

InterfaceAddress = IPv4Interface | IPv6Interface

NLM_F_EXCL: Final = 0x200

# struct ifinfomsg: family, type, index, flags, mask of flags to change.
_LINK: Final = struct.Struct("=BxHiII")
# struct ifaddrmsg: family, prefix length, flags, scope, index.
_ADDRESS: Final = struct.Struct("=BBBBI")
_U32: Final = struct.Struct("=I")

_IFF_UP: Final = 0x1
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_AF_SPEC = 3, 4, 18, 20, 26
_IFLA_INFO_KIND: Final = 1
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_ADDR_GEN_MODE_NONE: Final = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
# No duplicate address detection: every host has these addresses, none on a wire.
_IFA_F_NODAD: Final = 0x02
_IFA_F_NOPREFIXROUTE: Final = 0x200


@dataclass(frozen=True, slots=True)
class FoundLink:
    """An interface in the kernel; *alias* is free text that its maker left."""

    index: int
    name: str
    alias: str
    mtu: int
    up: bool


def create_bridge(name: str) -> bytes:
    """Return the body of the request that makes an interface."""
    kind = nested(_IFLA_LINKINFO, attribute_string(_IFLA_INFO_KIND, "bridge"))
    return _LINK.pack(0, 0, 0, 0, 0) + attribute_string(_IFLA_IFNAME, name) + kind


def without_automatic_addresses(index: int) -> bytes:
    """Return the body of the request that keeps the kernel from adding IPv6 addresses."""
    mode = attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_MODE_NONE]))
    return _LINK.pack(0, 0, index, 0, 0) + nested(_IFLA_AF_SPEC, nested(AF_INET6, mode))


def configure_link(index: int, alias: str, mtu: int) -> bytes:
    """Return the body of the request that sets an interface up, with alias and MTU."""
    return (
        _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP)
        + attribute(_IFLA_MTU, _U32.pack(mtu))
        + attribute_string(_IFLA_IFALIAS, alias)
    )


def remove_link(index: int) -> bytes:
    """Return the body of the request that removes an interface."""
    return _LINK.pack(0, 0, index, 0, 0)


def parse_link(body: bytes) -> FoundLink:
    """Return the link of a NEWLINK message."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    return FoundLink(
        index=index,
        name=string(found.get(_IFLA_IFNAME, b"")),
        alias=string(found.get(_IFLA_IFALIAS, b"")),
        mtu=_U32.unpack(found[_IFLA_MTU])[0] if _IFLA_MTU in found else 0,
        up=bool(flags & _IFF_UP),
    )


def address(index: int, wanted: InterfaceAddress) -> bytes:
    """Return the body of a request that adds or removes an address.

    It is added without the route to its prefix: workloads are reached one by one.
    """
    family = AF_INET if wanted.version == 4 else AF_INET6
    flags = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if wanted.version == 6 else 0)
    packed = wanted.ip.packed
    return (
        _ADDRESS.pack(family, wanted.network.prefixlen, 0, 0, index)
        + attribute(_IFA_LOCAL, packed)
        + attribute(_IFA_ADDRESS, packed)
        + attribute(_IFA_FLAGS, _U32.pack(flags))
    )


def parse_address(body: bytes) -> tuple[int, InterfaceAddress] | None:
    """Return interface index and address, with prefix length, of a NEWADDR message."""
    family, length, _, _, index = _ADDRESS.unpack_from(body)
    found = attributes(body, _ADDRESS.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if not packed:
        return None
    if family == AF_INET:
        return index, IPv4Interface((IPv4Address(packed), length))
    if family == AF_INET6:
        return index, IPv6Interface((IPv6Address(packed), length))
    return None

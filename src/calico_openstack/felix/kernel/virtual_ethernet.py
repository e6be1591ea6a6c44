"""Pairs of virtual Ethernet devices in rtnetlink's form (veth(4)). Pure."""

from __future__ import annotations

import struct
from typing import Final

from calico_openstack.netlink.protocol import attribute, attribute_string, nested
from calico_openstack.netlink.rtnetlink import IFF_UP

# struct ifinfomsg
_LINK_HEADER: Final = struct.Struct("=BxHiII")
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_LINKINFO, _IFLA_AF_SPEC = 1, 3, 18, 26
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_AF_INET6, _INET6_ADDR_GEN_MODE, _NO_ADDRESS = 10, 8, b"\x01"


def encode_pair(name: str, other: str, other_mac: bytes) -> bytes:
    """Return the body that makes two devices, one of them with a MAC address, neither up."""
    peer = (
        _LINK_HEADER.pack(0, 0, 0, 0, 0)
        + attribute_string(_IFLA_NAME, other)
        + (attribute(_IFLA_ADDRESS, other_mac) if any(other_mac) else b"")
    )
    info = nested(
        _IFLA_LINKINFO,
        attribute_string(_INFO_KIND, "veth"),
        nested(_INFO_DATA, attribute(_VETH_PEER, peer)),
    )
    return _LINK_HEADER.pack(0, 0, 0, 0, 0) + attribute_string(_IFLA_NAME, name) + info


def encode_without_address(index: int) -> bytes:
    """Return the body that has a device get no IPv6 address by itself when it comes up."""
    ipv6 = nested(_AF_INET6, attribute(_INET6_ADDR_GEN_MODE, _NO_ADDRESS))
    return _LINK_HEADER.pack(0, 0, index, 0, 0) + nested(_IFLA_AF_SPEC, ipv6)


def encode_up(index: int) -> bytes:
    """Return the body that sets a device up."""
    return _LINK_HEADER.pack(0, 0, index, IFF_UP, IFF_UP)

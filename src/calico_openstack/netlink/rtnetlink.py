"""Links, addresses, routes and neighbours in rtnetlink's form, both ways (rtnetlink(7)). Pure."""

from __future__ import annotations

import struct
import sys
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from msgspec import Struct

from calico_openstack.netlink.protocol import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    attribute,
    attributes,
    message,
    string,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10


class RtMessage(IntEnum):
    """Kinds of rtnetlink messages (linux/rtnetlink.h)."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26
    NEWNEIGH = 28
    DELNEIGH = 29
    GETNEIGH = 30
    NEWNETCONF = 80


class RtGroup(IntEnum):
    """Notification groups (enum rtnetlink_groups)."""

    LINK = 1
    NEIGH = 3
    TC = 4
    IPV4_IFADDR = 5
    IPV4_ROUTE = 7
    IPV6_IFADDR = 9
    IPV6_ROUTE = 11
    IPV4_NETCONF = 24
    IPV6_NETCONF = 25


# struct ifinfomsg, ifaddrmsg, rtmsg, ndmsg
_LINK_HEADER = struct.Struct("=BxHiII")
_ADDRESS_HEADER = struct.Struct("=BBBBI")
_ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR_HEADER = struct.Struct("=BxxxiHBB")
_U32 = struct.Struct("=I")

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU = 1, 3, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_RTA_MULTIPATH, _RTA_VIA = 9, 18
_NDA_DST, _NDA_LLADDR = 1, 2

IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_NOWHERE = 0, 253, 255
_RTM_F_CLONED = 0x200
_NUD_PROBE = 0x10
_NUD_PERMANENT = 0x80
_NTF_PROXY = 0x08


def _attribute_u32(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def _u32(payload: bytes | None) -> int:
    return int(_U32.unpack(payload)[0]) if payload else 0


# --- links and addresses ------------------------------------------------------------------------


class Link(Struct, frozen=True):
    """An interface as the kernel describes it; *mac* is empty where there is none."""

    index: int
    name: str
    flags: int
    mac: bytes
    mtu: int


def link_dump_request() -> bytes:
    """Return the body of a request for all links."""
    return _LINK_HEADER.pack(0, 0, 0, 0, 0)


def parse_link(body: bytes) -> Link | None:
    """Return the link of a NEWLINK or DELLINK message.

    None for messages of a bridge about its ports: they look alike, but a port that leaves a bridge
    does not vanish.
    """
    family, _, index, flags, _ = _LINK_HEADER.unpack_from(body)
    if family != _AF_UNSPEC:
        return None
    found = attributes(body, _LINK_HEADER.size)
    return Link(
        index=index,
        name=string(found.get(_IFLA_IFNAME, b"")),
        flags=flags,
        mac=found.get(_IFLA_ADDRESS, b""),
        mtu=_u32(found.get(_IFLA_MTU)),
    )


def address_dump_request() -> bytes:
    """Return the body of a request for all addresses."""
    return _ADDRESS_HEADER.pack(0, 0, 0, 0, 0)


class AssignedAddress(NamedTuple):
    """An address of an interface, which may have the same one again with another network (IPv4).

    *length* is that of the network's prefix. *peer* is what else tells IPv4 addresses apart: on a
    point-to-point link the other end's, packed, on others the address itself.
    """

    address: Address
    length: int
    peer: bytes


def parse_address(body: bytes) -> tuple[int, AssignedAddress] | None:
    """Return interface index and address of a NEWADDR or DELADDR message."""
    family, length, _, _, index = _ADDRESS_HEADER.unpack_from(body)
    found = attributes(body, _ADDRESS_HEADER.size)
    # On a point-to-point link IFA_ADDRESS is the peer's.
    peer = found.get(_IFA_ADDRESS)
    packed = found.get(_IFA_LOCAL) or peer
    if not packed or family not in (AF_INET, AF_INET6):
        return None
    if family == AF_INET6 or peer is None:
        # An interface has an IPv6 address once, and its peer may change.
        peer = packed
    return index, AssignedAddress(_unpack_address(packed), length, peer)


def _unpack_address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _family(address: Address | Network) -> int:
    return AF_INET if address.version == 4 else AF_INET6


# --- routes -------------------------------------------------------------------------------------


class RouteKey(Struct, frozen=True):
    """What tells routes of the main table apart."""

    destination: Network
    metric: int
    interface: int


class RouteAttributes(Struct, frozen=True):
    """The rest of a route over an interface. With a *gateway* it is none of ours."""

    protocol: int
    source: Address | None = None
    gateway: bool = False


def route_dump_request(family: int, protocol: int = 0) -> bytes:
    """Return the body of a request for all routes of *family*.

    With a *protocol* the kernel leaves out those of others, see `NetlinkSocket.filter_dumps`.
    """
    return _ROUTE_HEADER.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0)


def encode_route(key: RouteKey, route: RouteAttributes, sequence: int) -> bytes:
    """Return the request that makes a route, replacing one of the same destination and metric."""
    source = attribute(_RTA_PREFSRC, route.source.packed) if route.source else b""
    body = _route_body(key, route.protocol) + source
    return message(RtMessage.NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sequence, body)


def encode_route_removal(key: RouteKey, protocol: int, sequence: int) -> bytes:
    """Return the request that removes exactly this route, whatever its scope and gateway."""
    body = _route_body(key, protocol, _RT_SCOPE_NOWHERE)
    return message(RtMessage.DELROUTE, 0, sequence, body)


def _route_body(key: RouteKey, protocol: int, scope: int = _RT_SCOPE_LINK) -> bytes:
    destination = key.destination
    if destination.version == 6:
        # IPv6 routes have no scope.
        scope = _RT_SCOPE_UNIVERSE
    header = _ROUTE_HEADER.pack(
        _family(destination),
        destination.prefixlen,
        0,
        0,
        _RT_TABLE_MAIN,
        protocol,
        scope,
        _RTN_UNICAST,
        0,
    )
    return (
        header
        + attribute(_RTA_DST, destination.network_address.packed)
        + _attribute_u32(_RTA_OIF, key.interface)
        + _attribute_u32(_RTA_PRIORITY, key.metric)
    )


def parse_route(body: bytes) -> tuple[RouteKey, RouteAttributes] | None:
    """Return a unicast route of the main table over one interface, None for any other."""
    family, length, _, _, table, protocol, _, kind, flags = _ROUTE_HEADER.unpack_from(body)
    if kind != _RTN_UNICAST or flags & _RTM_F_CLONED or family not in (AF_INET, AF_INET6):
        return None
    found = attributes(body, _ROUTE_HEADER.size)
    if (_u32(found.get(_RTA_TABLE)) or table) != _RT_TABLE_MAIN or _RTA_OIF not in found:
        return None
    network: type[IPv4Network | IPv6Network] = IPv4Network if family == AF_INET else IPv6Network
    packed = found.get(_RTA_DST, bytes(4 if family == AF_INET else 16))
    source = found.get(_RTA_PREFSRC)
    key = RouteKey(
        destination=network((packed, length)),
        metric=_u32(found.get(_RTA_PRIORITY)),
        interface=_u32(found[_RTA_OIF]),
    )
    return key, RouteAttributes(
        protocol=protocol,
        source=_unpack_address(source) if source else None,
        gateway=_RTA_GATEWAY in found,
    )


class RouteWay(Struct, frozen=True):
    """A route of the main table of any kind, and where it leads in the kernel's own form."""

    family: int
    destination: bytes
    metric: int
    protocol: int
    way: tuple[bytes, ...]


def parse_route_way(body: bytes) -> RouteWay | None:
    """Return a route of the main table, None for one of another table and for cached ones."""
    family, length, _, _, table, protocol, _, kind, flags = _ROUTE_HEADER.unpack_from(body)
    if flags & _RTM_F_CLONED or family not in (AF_INET, AF_INET6):
        return None
    found = attributes(body, _ROUTE_HEADER.size)
    if (_u32(found.get(_RTA_TABLE)) or table) != _RT_TABLE_MAIN:
        return None
    parts = (_RTA_OIF, _RTA_GATEWAY, _RTA_VIA, _RTA_MULTIPATH)
    return RouteWay(
        family=family,
        destination=found.get(_RTA_DST, b"") + bytes([length]),
        metric=_u32(found.get(_RTA_PRIORITY)),
        protocol=protocol,
        way=(bytes([kind]), *(found.get(part, b"") for part in parts)),
    )


# --- neighbours ---------------------------------------------------------------------------------


class NeighbourEntry(Struct, frozen=True):
    """Identity of a neighbour entry in the kernel."""

    interface: int
    address: Address


def neighbour_dump_request(family: int) -> bytes:
    """Return the body of a request for all neighbour entries of *family*."""
    return _NEIGHBOUR_HEADER.pack(family, 0, 0, 0, 0)


def encode_neighbour(entry: NeighbourEntry, mac: bytes, sequence: int) -> bytes:
    """Return the request that makes a permanent entry, replacing any of the same address."""
    header = _NEIGHBOUR_HEADER.pack(_family(entry.address), entry.interface, _NUD_PERMANENT, 0, 0)
    body = header + attribute(_NDA_DST, entry.address.packed) + attribute(_NDA_LLADDR, mac)
    return message(RtMessage.NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sequence, body)


def encode_neighbour_hint(entry: NeighbourEntry, mac: bytes, sequence: int) -> bytes:
    """Return the request by which the kernel takes a MAC for true until it has asked it.

    An entry that is valid keeps its MAC, and a MAC that does not answer is given up as usual.
    """
    header = _NEIGHBOUR_HEADER.pack(_family(entry.address), entry.interface, _NUD_PROBE, 0, 0)
    body = header + attribute(_NDA_DST, entry.address.packed) + attribute(_NDA_LLADDR, mac)
    return message(RtMessage.NEWNEIGH, NLM_F_CREATE, sequence, body)


def encode_neighbour_removal(entry: NeighbourEntry, sequence: int) -> bytes:
    """Return the request that removes an entry."""
    header = _NEIGHBOUR_HEADER.pack(_family(entry.address), entry.interface, 0, 0, 0)
    body = header + attribute(_NDA_DST, entry.address.packed)
    return message(RtMessage.DELNEIGH, 0, sequence, body)


def parse_neighbour(body: bytes) -> tuple[NeighbourEntry, bytes | None] | None:
    """Return an entry with its MAC, None in place of it unless it is permanent."""
    family, index, state, flags, _ = _NEIGHBOUR_HEADER.unpack_from(body)
    found = attributes(body, _NEIGHBOUR_HEADER.size)
    if family not in (AF_INET, AF_INET6) or flags & _NTF_PROXY or _NDA_DST not in found:
        return None
    entry = NeighbourEntry(index, _unpack_address(found[_NDA_DST]))
    return entry, found.get(_NDA_LLADDR) if state & _NUD_PERMANENT else None


# --- parameters of interfaces -------------------------------------------------------------------

NETCONF_ALL = -1
_NETCONFA_IFINDEX = 1


class NetconfValue(IntEnum):
    """Parameters whose changes the kernel tells (linux/netconf.h)."""

    FORWARDING = 2
    RP_FILTER = 3
    PROXY_NEIGHBOUR = 5


class Netconf(Struct, frozen=True):
    """New values of parameters of one family and interface, by `NetconfValue`.

    ``index`` is NETCONF_ALL for the host as a whole and -2 for new interfaces' defaults.
    """

    family: int
    index: int
    values: dict[int, int]


def parse_netconf(body: bytes) -> Netconf | None:
    """Return what a notification of changed parameters says, None for other families."""
    if not body or body[0] not in (AF_INET, AF_INET6):
        return None
    found = attributes(body, 4)
    values = {kind: _signed(payload) for kind, payload in found.items() if len(payload) == 4}
    index = values.pop(_NETCONFA_IFINDEX, None)
    return None if index is None else Netconf(body[0], index, values)


def _signed(payload: bytes) -> int:
    return int.from_bytes(payload, sys.byteorder, signed=True)

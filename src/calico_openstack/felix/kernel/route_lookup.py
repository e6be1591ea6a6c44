"""Asking the kernel which way it would send a packet (``ip route get``; rtnetlink(7))."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from msgspec import Struct

from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
)
from calico_openstack.netlink.rtnetlink import AF_INET, AF_INET6, RtMessage

Address = IPv4Address | IPv6Address

# struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags
_HEADER: Final = struct.Struct("=BBBBBBBBI")
_U32: Final = struct.Struct("=I")
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC = 1, 4, 5, 6, 7
# Answer with the entry of the table that was found (RTM_F_FIB_MATCH), and so with its metric.
_FIB_MATCH: Final = 0x2000
_TYPES: Final = {1: "unicast", 2: "local", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


class FoundRoute(Struct, frozen=True):
    """The route of one destination: *kind* as ip-route(8) calls it, 0 for no interface.

    *length* is that of the prefix that the route is for.
    """

    kind: str
    length: int
    interface: int = 0
    gateway: Address | None = None
    metric: int = 0
    source: Address | None = None


def look_up(socket: NetlinkSocket, destination: Address) -> FoundRoute | str:
    """Return the route by which this host reaches *destination*, or why it has none."""
    family = AF_INET if destination.version == 4 else AF_INET6
    header = _HEADER.pack(family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    body = header + attribute(_DST, destination.packed)
    try:
        answers = socket.request(RtMessage.GETROUTE, body)
    except NetlinkError as error:
        return error.refusal.text or error.strerror or str(error)
    found = [parsed(one.body) for one in answers if one.kind == RtMessage.NEWROUTE]
    return found[0] if found else "the kernel gave no answer"


def parsed(body: bytes) -> FoundRoute:
    """Return the route of an answer."""
    header = _HEADER.unpack_from(body)
    kind = header[7]
    found = attributes(body, _HEADER.size)
    gateway, source = found.get(_GATEWAY), found.get(_PREFSRC)
    return FoundRoute(
        kind=_TYPES.get(kind, f"type {kind}"),
        length=header[1],
        interface=_number(found.get(_OIF)),
        gateway=ip_address(gateway) if gateway else None,
        metric=_number(found.get(_PRIORITY)),
        source=ip_address(source) if source else None,
    )


def open_lookup() -> NetlinkSocket:
    """Return a socket to look up routes with."""
    return NetlinkSocket(NETLINK_ROUTE)


def _number(payload: bytes | None) -> int:
    return int(_U32.unpack(payload)[0]) if payload else 0

"""The connection tracking table: listing flows and ending them (ctnetlink).

Messages and attributes are those of linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from calico_openstack.felix.kernel.conntrack_filter import (
    FILTERED_VERSIONS,
    FlowEnd,
    encode_filter,
    may_have_destination,
    may_have_source,
)
from calico_openstack.felix.render.dataplane import Address
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    Message,
    NetlinkSocket,
    attribute,
    attributes,
    be32,
    message,
    nested,
)

_SUBSYSTEM = 1 << 8
_GET, _DELETE, _GET_STATS = _SUBSYSTEM | 1, _SUBSYSTEM | 2, _SUBSYSTEM | 5
_CTA_STATS_GLOBAL_ENTRIES = 1
_HEADER = struct.Struct(">BBH")
_AF_INET, _AF_INET6 = 2, 10

_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_STATUS, _CTA_ID, _CTA_ZONE = 1, 2, 3, 12, 18
_CTA_PROTOINFO, _CTA_PROTOINFO_TCP, _CTA_PROTOINFO_TCP_STATE = 4, 1, 1
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_IP_V6_SRC, _CTA_IP_V6_DST = 1, 2, 3, 4
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
# ICMP: identifier, type, code; the same three for ICMPv6.
_CTA_PROTO_ICMP = (4, 5, 6)
_CTA_PROTO_ICMPV6 = (7, 8, 9)
_ICMP, _ICMPV6 = 1, 58
_U16 = struct.Struct(">H")
# IPS_SEEN_REPLY; TCP_CONNTRACK_ESTABLISHED.
_SEEN_REPLY, _TCP_ESTABLISHED = 2, 3
# Requests to delete in one buffer.
_BATCH = 1024
# Up to so many addresses the kernel looks for one after the other; for more, all is listed once.
_FEW_ADDRESSES = 4
# A walk of the kernel through its table, which is large even when it is empty, takes as long as
# handing over and looking at so many flows.
_FLOWS_PER_WALK = 2500
_FAMILIES = {4: _AF_INET, 6: _AF_INET6}


class FlowTuple(Struct, frozen=True):
    """One direction of a flow; ports are 0 for protocols without, ICMP's parts None elsewhere."""

    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None


class Flow(Struct, frozen=True):
    """A tracked connection.

    ``original`` is its first packet as it arrived, ``reply`` what an answer looks like; they mirror
    each other unless addresses are translated. ``status`` holds the IPS_* bits. ``id`` tells this
    flow from a later one with the same tuple, unless the kernel keeps both at the same place.
    ``tcp_state`` is one of enum tcp_conntrack, 0 for other protocols.
    """

    original: FlowTuple
    reply: FlowTuple
    zone: int
    status: int
    id: int
    tcp_state: int = 0

    @property
    def is_established(self) -> bool:
        """Whether both ends have sent something and neither has ended it."""
        return bool(self.status & _SEEN_REPLY) and self.tcp_state in (0, _TCP_ESTABLISHED)


class ConntrackTable:
    """Reads and deletes flows of the network namespace in which it is made."""

    def __init__(self) -> None:
        self.deletions = 0
        self._socket = NetlinkSocket(NETLINK_NETFILTER, receive_buffer=32 << 20)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def flows(self, of: Collection[Address] = ()) -> Iterator[Flow]:
        """Yield all flows of both families, or those that one of the addresses began or answered.

        These have an address as original source or as reply source, that is, as destination after
        translation. The table changes while it is listed; each flow is as it was at some moment of
        the listing. Read the iterator to its end. Raises OSError.
        """
        if not of:
            for version in _FAMILIES:
                yield from self._list(version)
            return
        for version in _FAMILIES:
            wanted = {address for address in of if address.version == version}
            if self._is_quicker_asked(version, len(wanted), walks=2 * len(wanted)):
                yield from self._ask_for(wanted)
            elif wanted:
                packed = {address.packed for address in wanted}
                for received in self._dump(version):
                    if may_have_source(received.body, version, packed):
                        yield from _flows_in(received)

    def _ask_for(self, wanted: Collection[Address]) -> Iterator[Flow]:
        for address in wanted:
            filter_ = encode_filter(FlowEnd.ORIGINAL_SOURCE, address)
            for flow in self._list(address.version, filter_):
                if flow.original.source == address:
                    yield flow
        for address in wanted:
            filter_ = encode_filter(FlowEnd.REPLY_SOURCE, address)
            for flow in self._list(address.version, filter_):
                # Those that one of them began came already.
                if flow.reply.source == address and flow.original.source not in wanted:
                    yield flow

    def flows_to(self, destinations: Collection[Address]) -> Iterator[Flow]:
        """Yield the flows whose first packet was sent to one of *destinations*, as it was sent."""
        for version in _FAMILIES:
            wanted = {address for address in destinations if address.version == version}
            filters = [b""] if wanted else []
            if self._is_quicker_asked(version, len(wanted), walks=len(wanted)):
                filters = [encode_filter(FlowEnd.ORIGINAL_DESTINATION, each) for each in wanted]
            packed = {address.packed for address in wanted}
            for filter_ in filters:
                for received in self._dump(version, filter_):
                    if may_have_destination(received.body, version, packed):
                        yield from _flows_in(received)

    def count(self) -> int:
        """Return how many flows there are, of both families. Raises OSError."""
        answers = self._socket.request(_GET_STATS, _HEADER.pack(0, 0, 0))
        return be32(attributes(answers[0].body, _HEADER.size)[_CTA_STATS_GLOBAL_ENTRIES])

    def _is_quicker_asked(self, version: int, addresses: int, walks: int) -> bool:
        """Tell whether *walks* for what has one of *addresses* take less time than a listing."""
        if version not in FILTERED_VERSIONS or not 0 < addresses <= _FEW_ADDRESSES:
            return False
        return walks == 1 or self.count() > (walks - 1) * _FLOWS_PER_WALK

    def _list(self, version: int, filter_: bytes = b"") -> Iterator[Flow]:
        for received in self._dump(version, filter_):
            yield from _flows_in(received)

    def _dump(self, version: int, filter_: bytes = b"") -> Iterator[Message]:
        body = _HEADER.pack(_FAMILIES[version], 0, 0) + filter_
        return self._socket.stream(_GET, body)

    def delete(self, flows: Iterable[Flow]) -> int:
        """Delete *flows*, as far as they still exist; return how many were.

        Raises OSError when the kernel refuses for any other reason than that a flow is gone.
        """
        requests = [encode_deletion(flow, i) for i, flow in enumerate(flows)]
        deleted = 0
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            refusals = self._socket.exchange([b"".join(batch)])
            deleted += len(batch) - len(refusals)
            for refusal in refusals:
                if refusal.code != errno.ENOENT:
                    raise OSError(refusal.code, f"conntrack deletion: {refusal}")
        self.deletions += deleted
        return deleted

    def delete_of_addresses(self, addresses: Collection[Address]) -> int:
        """Delete the flows that one of *addresses* began or answered; return how many were.

        These are the flows with the address as original source or reply source, what
        ``conntrack -D --orig-src`` and ``--reply-src`` remove.
        """
        wanted = set(addresses)
        doomed = [
            flow
            for flow in self.flows(wanted)
            if flow.original.source in wanted or flow.reply.source in wanted
        ]
        return self.delete(doomed)


def _flows_in(received: Message) -> Iterator[Flow]:
    flow = parse_flow(received.body)
    if flow is not None:
        yield flow


def parse_flow(body: bytes) -> Flow | None:
    """Return the flow of a ctnetlink message, None when it lacks a tuple."""
    found = attributes(body, _HEADER.size)
    original = _parse_tuple(found.get(_CTA_TUPLE_ORIG, b""))
    reply = _parse_tuple(found.get(_CTA_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    return Flow(
        original=original,
        reply=reply,
        zone=int.from_bytes(found.get(_CTA_ZONE, b""), "big"),
        status=be32(found.get(_CTA_STATUS, b"")),
        id=be32(found.get(_CTA_ID, b"")),
        tcp_state=_tcp_state(found.get(_CTA_PROTOINFO, b"")),
    )


def _tcp_state(data: bytes) -> int:
    tcp = attributes(attributes(data).get(_CTA_PROTOINFO_TCP, b""))
    return int.from_bytes(tcp.get(_CTA_PROTOINFO_TCP_STATE, b""), "big")


def _parse_tuple(data: bytes) -> FlowTuple | None:
    found = attributes(data)
    addresses = attributes(found.get(_CTA_TUPLE_IP, b""))
    protocol = attributes(found.get(_CTA_TUPLE_PROTO, b""))
    source: Address
    destination: Address
    if _CTA_IP_V4_SRC in addresses:
        source = IPv4Address(addresses[_CTA_IP_V4_SRC])
        destination = IPv4Address(addresses[_CTA_IP_V4_DST])
    elif _CTA_IP_V6_SRC in addresses:
        source = IPv6Address(addresses[_CTA_IP_V6_SRC])
        destination = IPv6Address(addresses[_CTA_IP_V6_DST])
    else:
        return None
    number = protocol[_CTA_PROTO_NUM][0]
    if number in (_ICMP, _ICMPV6):
        id_kind, type_kind, code_kind = _CTA_PROTO_ICMP if number == _ICMP else _CTA_PROTO_ICMPV6
        return FlowTuple(
            source,
            destination,
            number,
            icmp_type=int.from_bytes(protocol.get(type_kind, b""), "big"),
            icmp_code=int.from_bytes(protocol.get(code_kind, b""), "big"),
            icmp_id=int.from_bytes(protocol.get(id_kind, b""), "big"),
        )
    return FlowTuple(
        source,
        destination,
        number,
        source_port=int.from_bytes(protocol.get(_CTA_PROTO_SRC_PORT, b""), "big"),
        destination_port=int.from_bytes(protocol.get(_CTA_PROTO_DST_PORT, b""), "big"),
    )


def encode_deletion(flow: Flow, sequence: int) -> bytes:
    """Return the request to delete exactly *flow*."""
    family = _FAMILIES[flow.original.source.version]
    zone = attribute(_CTA_ZONE, _U16.pack(flow.zone)) if flow.zone else b""
    body = (
        _HEADER.pack(family, 0, 0)
        + _encode_tuple(flow.original)
        + zone
        + attribute(_CTA_ID, flow.id.to_bytes(4, "big"))
    )
    return message(_DELETE, 0, sequence, body)


def _encode_tuple(tuple_: FlowTuple) -> bytes:
    ipv4 = tuple_.source.version == 4
    source_kind = _CTA_IP_V4_SRC if ipv4 else _CTA_IP_V6_SRC
    destination_kind = _CTA_IP_V4_DST if ipv4 else _CTA_IP_V6_DST
    addresses = nested(
        _CTA_TUPLE_IP,
        attribute(source_kind, tuple_.source.packed),
        attribute(destination_kind, tuple_.destination.packed),
    )
    parts = [attribute(_CTA_PROTO_NUM, bytes([tuple_.protocol]))]
    if tuple_.icmp_type is not None:
        kinds = _CTA_PROTO_ICMP if tuple_.protocol == _ICMP else _CTA_PROTO_ICMPV6
        parts.append(attribute(kinds[0], _U16.pack(tuple_.icmp_id or 0)))
        parts.append(attribute(kinds[1], bytes([tuple_.icmp_type])))
        parts.append(attribute(kinds[2], bytes([tuple_.icmp_code or 0])))
    else:
        parts.append(attribute(_CTA_PROTO_SRC_PORT, _U16.pack(tuple_.source_port)))
        parts.append(attribute(_CTA_PROTO_DST_PORT, _U16.pack(tuple_.destination_port)))
    return nested(_CTA_TUPLE_ORIG, addresses, nested(_CTA_TUPLE_PROTO, *parts))

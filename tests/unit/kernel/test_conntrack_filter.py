"""Finding flows by their addresses in what the kernel lists, and asking it for them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.kernel.conntrack import parse_flow
from calico_openstack.felix.kernel.conntrack_filter import (
    FlowEnd,
    encode_filter,
    may_have_destination,
    may_have_source,
)
from calico_openstack.netlink.protocol import attribute, attributes, nested

ADDRESSES = st.one_of(
    st.tuples(*(st.ip_addresses(v=4) for _ in range(4))),
    st.tuples(*(st.ip_addresses(v=6) for _ in range(4))),
)


def listed(addresses: tuple[bytes, ...], icmp: bool) -> bytes:
    """Return a flow as the kernel lists it: generic header, both tuples, and more."""
    version = 4 if len(addresses[0]) == 4 else 6
    kinds = (1, 2) if version == 4 else (3, 4)
    tuples = []
    for kind, pair in ((1, addresses[:2]), (2, addresses[2:])):
        ips = (attribute(each, address) for each, address in zip(kinds, pair, strict=True))
        protocol = [attribute(1, b"\x06"), attribute(2, b"\x13\x88"), attribute(3, b"\0\x50")]
        if icmp:
            protocol = [attribute(1, b"\x01"), attribute(4, b"\0\1")]
        tuples.append(nested(kind, nested(1, *ips), nested(2, *protocol)))
    return b"\2\0\0\0" + b"".join(tuples) + attribute(3, bytes(4))


@given(ADDRESSES, st.booleans())
def test_ends_are_found_where_they_are(addresses: tuple[IPv4Address, ...], icmp: bool) -> None:
    packed = tuple(address.packed for address in addresses)
    body = listed(packed, icmp)
    version = addresses[0].version
    flow = parse_flow(body)
    assert flow is not None
    for wanted in packed:
        sources = (flow.original.source.packed, flow.reply.source.packed)
        assert may_have_source(body, version, {wanted}) == (wanted in sources)
        to = flow.original.destination.packed
        assert may_have_destination(body, version, {wanted}) == (wanted == to)
    assert not may_have_source(body, version, set())


@pytest.mark.parametrize(
    ("end", "tuple_", "kind", "flags"),
    [
        (FlowEnd.ORIGINAL_SOURCE, 1, 1, (1, 0)),
        (FlowEnd.ORIGINAL_DESTINATION, 1, 2, (2, 0)),
        (FlowEnd.REPLY_SOURCE, 2, 1, (0, 1)),
    ],
)
def test_filters(end: FlowEnd, tuple_: int, kind: int, flags: tuple[int, int]) -> None:
    found = attributes(encode_filter(end, ip_address("10.0.0.1")))
    assert found.keys() == {tuple_, 25}
    assert attributes(attributes(found[tuple_])[1]) == {kind: b"\x0a\0\0\1"}
    original, reply = (struct.pack("=I", each) for each in flags)
    assert attributes(found[25]) == {1: original, 2: reply}

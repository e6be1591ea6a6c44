"""Finding flows by an address: the kernel's filter, and a quick look at what it lists. Pure.

A filtered dump (attribute CTA_FILTER, since Linux 5.8) still walks the whole table, but what does
not match is neither copied nor parsed: that costs a thirtieth. An older kernel ignores the filter
and lists everything, so that whoever uses one still has to look at what comes.

For IPv6 addresses the kernel's comparison is the wrong way round (all flows are listed but those
that match; seen on Linux 6.18), so that only IPv4 addresses can be asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from enum import Enum

from calico_openstack.felix.render.dataplane import Address
from calico_openstack.netlink.protocol import attribute, nested

# enum ctattr_type, ctattr_tuple and ctattr_ip of linux/netfilter/nfnetlink_conntrack.h.
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_FILTER = 1, 2, 25
_CTA_TUPLE_IP = 1
_CTA_IP_V4_SRC, _CTA_IP_V4_DST = 1, 2
# Within CTA_FILTER: which parts of the two tuples count; a bit each for source and destination.
_ORIGINAL_FLAGS, _REPLY_FLAGS = 1, 2
_MATCH_SOURCE, _MATCH_DESTINATION = 1, 2
_U32, _U16 = struct.Struct("=I"), struct.Struct("=H")

# A flow's first attributes: header of its message, then both tuples, each with its addresses
# first: three attribute headers, the source, one more header, the destination.
_GENERIC_HEADER = 4
_ATTRIBUTE_HEADER = 4
_SOURCE_OFFSET = 3 * _ATTRIBUTE_HEADER
_SIZES = {4: 4, 6: 16}


FILTERED_VERSIONS = frozenset({4})
"""The IP versions for which filters by address can be trusted."""


class FlowEnd(Enum):
    """Where in a flow an address may stand; the value says how the kernel is asked for it."""

    ORIGINAL_SOURCE = (_CTA_TUPLE_ORIG, 0)
    ORIGINAL_DESTINATION = (_CTA_TUPLE_ORIG, 1)
    REPLY_SOURCE = (_CTA_TUPLE_REPLY, 0)


def encode_filter(end: FlowEnd, address: Address) -> bytes:
    """Return the attributes of a dump of the flows that have an IPv4 *address* at *end*."""
    tuple_, place = end.value
    kind = (_CTA_IP_V4_SRC, _CTA_IP_V4_DST)[place]
    flag = (_MATCH_SOURCE, _MATCH_DESTINATION)[place]
    original = flag if tuple_ == _CTA_TUPLE_ORIG else 0
    reply = flag if tuple_ == _CTA_TUPLE_REPLY else 0
    return nested(tuple_, nested(_CTA_TUPLE_IP, attribute(kind, address.packed))) + nested(
        _CTA_FILTER,
        attribute(_ORIGINAL_FLAGS, _U32.pack(original)),
        attribute(_REPLY_FLAGS, _U32.pack(reply)),
    )


def may_have_destination(body: bytes, version: int, packed: Collection[bytes]) -> bool:
    """Tell whether a listed flow has one of the addresses as original destination."""
    size = _SIZES[version]
    start = _GENERIC_HEADER + _SOURCE_OFFSET + size + _ATTRIBUTE_HEADER
    return body[start : start + size] in packed


def may_have_source(body: bytes, version: int, packed: Collection[bytes]) -> bool:
    """Tell whether a listed flow has one of the addresses as original source or reply source.

    Like its sibling it looks at fixed places only, which is far cheaper than parsing.
    """
    size = _SIZES[version]
    start = _GENERIC_HEADER + _SOURCE_OFFSET
    if body[start : start + size] in packed:
        return True
    # Past the original tuple.
    (length,) = _U16.unpack_from(body, _GENERIC_HEADER)
    start += (length + 3) & ~3
    return body[start : start + size] in packed

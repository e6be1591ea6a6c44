"""Expressions that count connections and mark packets, as the kernel takes them. Pure."""

from __future__ import annotations

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_bytecode import bitwise, expression
from calico_openstack.felix.render.nft import Family, MoreConnections, SetDscp
from calico_openstack.netlink.protocol import attribute_be32

_CONNLIMIT_OVER = 1
_NETWORK_HEADER = 1
_CODE_POINTS = 64
# What stays of the header's first two bytes, by how many bits the code point is shifted in them,
# and where the header's checksum is (kind 1: the Internet protocol's).
_DSCP = {
    Family.IP: (b"\xff\x03", 2, attribute_be32(6, 1) + attribute_be32(7, 10)),
    Family.IP6: (b"\xf0\x3f", 6, b""),
}


def encode_more_connections(match: MoreConnections, _: Family) -> bytes:
    """Return the expression that counts connections."""
    return expression(
        "connlimit", attribute_be32(1, match.count), attribute_be32(2, _CONNLIMIT_OVER)
    )


def encode_set_dscp(statement: SetDscp, family: Family) -> bytes:
    """Return the expressions that write a code point; ValueError where there is none."""
    if family not in _DSCP:
        raise ValueError(f"family {family.value} has no code points")
    if not 0 <= statement.value < _CODE_POINTS:
        raise ValueError(f"{statement.value} is no code point")
    keep, shift, checksum = _DSCP[family]
    place = attribute_be32(2, _NETWORK_HEADER) + attribute_be32(3, 0) + attribute_be32(4, 2)
    return (
        expression("payload", attribute_be32(1, nft.REGISTER_FIRST), place)
        + bitwise(keep, (statement.value << shift).to_bytes(2, "big"))
        + expression("payload", attribute_be32(5, nft.REGISTER_FIRST), place, checksum)
    )

"""The instructions that expressions are made of: loads, comparisons, immediate values.

The kernel's virtual machine works on sixteen 4-byte registers. A match loads what it looks at
into registers from the first one on and compares there; a value shorter than its registers is
followed by zeros.
"""

from __future__ import annotations

import struct

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_fields import SOURCES, Meta
from calico_openstack.felix.render.nft import Field
from calico_openstack.netlink.protocol import (
    attribute,
    attribute_be32,
    attribute_string,
    nested,
)

EQUAL, NOT_EQUAL, AT_MOST, AT_LEAST = 0, 1, 3, 5  # enum nft_cmp_ops

HOST_U32 = struct.Struct("=I")
U16 = struct.Struct(">H")


def expression(name: str, *parts: bytes) -> bytes:
    """Return one expression, an element of a rule's list."""
    return nested(
        nft.LIST_ELEMENT,
        attribute_string(nft.EXPRESSION_NAME, name),
        nested(nft.EXPRESSION_DATA, *parts),
    )


def data_value(kind: int, data: bytes) -> bytes:
    """Return an attribute with plain data, as opposed to a verdict."""
    return nested(kind, attribute(nft.DATA_VALUE, data))


def load(field: Field, register: int = nft.REGISTER_FIRST, length: int | None = None) -> bytes:
    """Load *field*, or its first *length* bytes, into the registers from *register* on."""
    source = SOURCES[field]
    if isinstance(source, Meta):
        return expression("meta", attribute_be32(1, register), attribute_be32(2, source.key))
    return expression(
        "payload",
        attribute_be32(1, register),
        attribute_be32(2, source.base),
        attribute_be32(3, source.offset),
        attribute_be32(4, length or source.length),
    )


def load_all(fields: tuple[Field, ...], mask: bytes = b"") -> bytes:
    """Load the concatenation of *fields*, each at the next whole register; mask the first one."""
    parts, register = [], nft.REGISTER_FIRST
    for field in fields:
        parts.append(load(field, register))
        if mask and register == nft.REGISTER_FIRST:
            parts.append(bitwise(mask, bytes(len(mask))))
        register += -(-SOURCES[field].length // nft.REGISTER_BYTES)
    return b"".join(parts)


def compare_register(operation: int, data: bytes) -> bytes:
    """Compare the first registers with *data*; the rule ends where this does not hold."""
    return expression(
        "cmp",
        attribute_be32(1, nft.REGISTER_FIRST),
        attribute_be32(2, operation),
        data_value(3, data),
    )


def between(low: bytes, high: bytes) -> bytes:
    """Require the first registers to lie between two values, both included."""
    return compare_register(AT_LEAST, low) + compare_register(AT_MOST, high)


def bitwise(mask: bytes, xor: bytes) -> bytes:
    """First register := first register & *mask* ^ *xor*."""
    return expression(
        "bitwise",
        attribute_be32(1, nft.REGISTER_FIRST),
        attribute_be32(2, nft.REGISTER_FIRST),
        attribute_be32(3, len(mask)),
        data_value(4, mask),
        data_value(5, xor),
    )


def immediate(register: int, data: bytes) -> bytes:
    """Write *data* into the registers from *register* on."""
    return expression("immediate", attribute_be32(1, register), data_value(2, data))


def equality(invert: bool) -> int:
    """Return the operation that tests for equality, or for its opposite."""
    return NOT_EQUAL if invert else EQUAL

"""The netlink wire format."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.netlink.protocol import (
    MAXIMUM_ATTRIBUTE,
    MESSAGE_HEADER,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Message,
    Refusal,
    attribute,
    attribute_be32,
    attribute_string,
    attributes,
    be32,
    iterate_attributes,
    message,
    nested,
    parse_acknowledgement,
    split,
    string,
)

KINDS = st.integers(min_value=0, max_value=0x3FFF)


@given(st.lists(st.tuples(KINDS, st.binary(max_size=40))))
def test_attributes_survive(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert list(iterate_attributes(data)) == pairs
    assert attributes(data) == dict(pairs)


@given(st.binary(max_size=200))
def test_garbage_does_not_raise(data: bytes) -> None:
    attributes(data)
    list(split(data))


def test_scalar_attributes() -> None:
    assert attribute_be32(5, 258) == struct.pack("=HH", 8, 5) + b"\0\0\1\2"
    assert be32(b"\0\0\1\2") == 258
    assert attribute_string(2, "abc") == struct.pack("=HH", 8, 2) + b"abc\0"
    assert string(b"abc\0") == "abc"
    assert nested(3, attribute(1, b"")) == struct.pack("=HHHH", 8, 0x8003, 4, 1)


def test_oversized_attribute_is_refused() -> None:
    attribute(1, bytes(MAXIMUM_ATTRIBUTE))
    with pytest.raises(ValueError, match="too long"):
        attribute(1, bytes(MAXIMUM_ATTRIBUTE + 1))


def test_messages_are_split() -> None:
    data = message(16, 0x100, 1, b"body") + message(17, 0, 2, b"")
    first, second = split(data)
    assert first == Message(16, 0x100 | NLM_F_REQUEST, 1, 0, b"body")
    assert (second.kind, second.sequence, second.body) == (17, 2, b"")


def _answer(code: int, flags: int, request: bytes, extra: bytes = b"") -> Message:
    return Message(NLMSG_ERROR, flags, 7, 0, struct.pack("=i", -code) + request + extra)


def test_refusal_with_explanation() -> None:
    request = MESSAGE_HEADER.pack(100, 16, 1, 7, 0)
    extra = attribute_string(1, "no such thing") + attribute(2, struct.pack("=I", 36))
    answer = _answer(errno.ENOENT, NLM_F_CAPPED | NLM_F_ACK_TLVS, request, extra)
    refusal = parse_acknowledgement(answer)
    assert refusal == Refusal(7, errno.ENOENT, "no such thing", 36)
    assert str(refusal) == "ENOENT: no such thing"


def test_refusal_that_repeats_the_request() -> None:
    request = MESSAGE_HEADER.pack(22, 16, 1, 7, 0) + b"sixbyt"
    answer = _answer(errno.EINVAL, NLM_F_ACK_TLVS, request + b"\0\0", attribute_string(1, "why"))
    assert parse_acknowledgement(answer) == Refusal(7, errno.EINVAL, "why", None)


def test_refusal_without_explanation() -> None:
    answer = _answer(errno.EBUSY, NLM_F_CAPPED, MESSAGE_HEADER.pack(16, 16, 1, 7, 0))
    assert str(parse_acknowledgement(answer)).startswith("EBUSY: ")


def test_acknowledgement() -> None:
    answer = _answer(0, NLM_F_CAPPED, MESSAGE_HEADER.pack(16, 16, 1, 7, 0))
    assert parse_acknowledgement(answer).code == 0

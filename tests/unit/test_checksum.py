"""The Internet checksum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.checksum import internet_checksum


@given(st.binary(max_size=64).map(lambda data: data + bytes(len(data) % 2)))
def test_a_checksum_over_itself_is_zero(data: bytes) -> None:
    assert internet_checksum(data + internet_checksum(data)) == b"\0\0"


def test_the_example_of_the_rfc() -> None:
    """RFC 1071, section 3: the sum is ddf2."""
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert internet_checksum(data) == bytes.fromhex("220d")


def test_an_odd_byte_is_the_first_of_a_word() -> None:
    assert internet_checksum(b"\x01") == internet_checksum(b"\x01\0")

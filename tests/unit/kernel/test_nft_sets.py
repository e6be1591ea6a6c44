"""Set elements to netlink and back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.kernel.nft_sets import (
    UnpairedIntervalsError,
    encode_elements,
    encode_set,
    key_length,
    parse_elements,
    parse_set,
    predecessor,
    register_length,
    successor,
)
from calico_openstack.felix.render.nft import (
    DROP,
    Element,
    ElementValue,
    KeyType,
    Range,
    Set,
    Verdict,
    VerdictKind,
)
from calico_openstack.netlink.protocol import MAXIMUM_ATTRIBUTE, attributes

KEYS = st.lists(st.sampled_from(KeyType), min_size=1, max_size=5).map(tuple)
NETWORKS = Set((KeyType.IPV4,), interval=True)


def round_trip(set_: Set, elements: dict[Element, ElementValue]) -> dict[Element, ElementValue]:
    return parse_elements(set_, [encoded for encoded, _ in encode_elements(set_, elements)])


@given(KEYS, st.booleans(), st.booleans())
def test_sets_survive(key: tuple[KeyType, ...], interval: bool, verdicts: bool) -> None:
    set_ = Set(key, interval, verdicts)
    found = attributes(encode_set("calico", "name", set_, 1))
    assert parse_set(found) == set_


def test_lengths() -> None:
    assert key_length((KeyType.PORT,)) == 2
    assert register_length((KeyType.PORT,)) == 4
    assert key_length((KeyType.IFNAME, KeyType.IPV6, KeyType.PORT)) == 36


@given(KEYS, st.data())
def test_keys_survive(key: tuple[KeyType, ...], data: st.DataObject) -> None:
    length = register_length(key)
    # A component shorter than its registers is padded with zeros.
    pad = length - key_length(key)
    keys = st.binary(min_size=length - pad, max_size=length - pad).map(lambda k: k + bytes(pad))
    elements: dict[Element, ElementValue] = dict.fromkeys(data.draw(st.sets(keys)))
    assert round_trip(Set(key), elements) == elements


def test_verdicts_survive() -> None:
    set_ = Set((KeyType.IFNAME,), verdicts=True)
    elements: dict[Element, ElementValue] = {
        b"tap1".ljust(16, b"\0"): Verdict(VerdictKind.GOTO, "some-chain"),
        b"tap2".ljust(16, b"\0"): DROP,
    }
    assert round_trip(set_, elements) == elements


@given(KEYS, st.sampled_from(KeyType))
def test_maps_to_data_survive(key: tuple[KeyType, ...], data: KeyType) -> None:
    set_ = Set(key, data=data)
    assert parse_set(attributes(encode_set("calico", "name", set_, 1))) == set_


def test_data_survives() -> None:
    set_ = Set((KeyType.IPV4, KeyType.IPV4), data=KeyType.IPV4)
    elements: dict[Element, ElementValue] = {bytes(8): b"\1\2\3\4", b"\1" * 8: bytes(4)}
    assert round_trip(set_, elements) == elements
    with pytest.raises(ValueError, match="data"):
        list(encode_elements(set_, {bytes(8): bytes(16)}))


@given(st.sets(st.integers(min_value=0, max_value=0xFFFFFFFF), min_size=2, max_size=60))
def test_ranges_survive(bounds: set[int]) -> None:
    ordered = sorted(bounds)
    # Every other gap between two bounds, and whatever touches: ranges that do not overlap.
    ranges: dict[Element, ElementValue] = {
        Range(low.to_bytes(4, "big"), (high - 1).to_bytes(4, "big")): None
        for low, high in pairwise(ordered)
    }
    last = Range(ordered[-1].to_bytes(4, "big"), b"\xff" * 4)
    ranges[last] = None
    assert round_trip(NETWORKS, ranges) == ranges


def test_concatenated_ranges_survive() -> None:
    set_ = Set((KeyType.IPV4, KeyType.PORT), interval=True)
    low, high = b"\x0a\0\0\0" + b"\0\x50\0\0", b"\x0a\0\0\xff" + b"\0\x5a\0\0"
    assert round_trip(set_, {Range(low, high): None}) == {Range(low, high): None}


def test_lists_stay_within_one_attribute() -> None:
    set_ = Set((KeyType.IPV4,))
    elements: list[Element] = [i.to_bytes(4, "big") for i in range(100_000)]
    chunks = list(encode_elements(set_, elements))
    assert all(len(encoded) <= MAXIMUM_ATTRIBUTE for encoded, _ in chunks)
    assert [element for _, inside in chunks for element in inside] == elements


@pytest.mark.parametrize(
    ("set_", "element"),
    [
        (Set((KeyType.IPV4,)), b"\0\0\0"),
        (Set((KeyType.IPV4,)), Range(bytes(4), bytes(4))),
        (NETWORKS, bytes(4)),
        (NETWORKS, Range(bytes(4), bytes(16))),
        (NETWORKS, Range(b"\0\0\0\2", b"\0\0\0\1")),
        (Set((KeyType.IFNAME,), verdicts=True), b"tap1"),
    ],
)
def test_elements_that_do_not_fit_are_refused(set_: Set, element: Element) -> None:
    with pytest.raises(ValueError, match="element"):
        list(encode_elements(set_, [element]))


def test_half_a_range_is_no_range() -> None:
    ranges: list[Element] = [Range(b"\x0a\0\0\0", b"\x0a\0\0\xff")]
    ((encoded, _),) = encode_elements(NETWORKS, ranges)
    start, end = encoded[:16], encoded[16:]
    # An open start is a range to the end; a second start within it, or an end alone, is nothing.
    assert parse_elements(NETWORKS, [start]) == {Range(b"\x0a\0\0\0", b"\xff" * 4): None}
    inside: list[Element] = [Range(b"\x0a\0\0\x10", b"\xff" * 4)]
    ((other, _),) = encode_elements(NETWORKS, inside)
    with pytest.raises(UnpairedIntervalsError):
        parse_elements(NETWORKS, [start, other])
    with pytest.raises(UnpairedIntervalsError):
        parse_elements(NETWORKS, [end])


@given(st.binary(min_size=1, max_size=16))
def test_successor_and_predecessor(value: bytes) -> None:
    following = successor(value)
    if following is None:
        assert value == b"\xff" * len(value)
    else:
        assert predecessor(following) == value


@given(st.lists(st.binary(max_size=100)))
def test_garbage_lists_do_not_break(lists: list[bytes]) -> None:
    for set_ in (Set((KeyType.IPV4,)), NETWORKS, Set((KeyType.IFNAME,), verdicts=True)):
        try:
            parse_elements(set_, lists)
        except UnpairedIntervalsError:
            assert set_.interval

"""Token buckets, filters and IFB devices in rtnetlink's form."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.kernel import traffic_control as tc
from calico_openstack.netlink.protocol import attribute_string, attributes, nested

FRAME = 1514
MILLION = 10**6
RATES = st.integers(125, 125 * 10**12)
BURSTS = st.integers(125, 2**32 - 1)


def test_the_limit_is_25_milliseconds_and_the_burst() -> None:
    assert tc.bucket_filter(MILLION, 50_000, 0, 0, FRAME).limit == 25_000 + 50_000


def test_with_a_peak_the_smaller_limit_counts() -> None:
    bucket = tc.bucket_filter(MILLION, 500_000, 2 * MILLION, 2000, FRAME)
    assert bucket.limit == 50_000 + 2000
    bucket = tc.bucket_filter(MILLION, 10_000, 100 * MILLION, 2000, FRAME)
    assert bucket.limit == 25_000 + 10_000


def test_no_bucket_is_smaller_than_a_frame() -> None:
    bucket = tc.bucket_filter(MILLION, 125, 2 * MILLION, 0, FRAME)
    assert (bucket.burst, bucket.peak_burst) == (FRAME, FRAME)


def test_what_does_not_fit_32_bits_is_the_largest() -> None:
    bucket = tc.bucket_filter(125 * 10**12, 2**32 - 1, 0, 0, FRAME)
    assert bucket.limit == 2**32 - 1
    assert bucket.burst == 2**32 - 1


def test_buckets_are_shown_in_ticks_of_64_nanoseconds() -> None:
    # A megabyte at a megabyte a second is a second.
    shown = tc.bucket_filter(MILLION, MILLION, 0, 0, FRAME).shown()
    assert shown.buffer == 10**9 // 64
    assert (shown.peak_rate, shown.peak_buffer) == (0, 0)


@given(RATES, BURSTS, st.integers(0, 125 * 10**12), st.integers(0, 10**8))
def test_what_is_asked_for_is_recognised(rate: int, burst: int, peak: int, peak_burst: int) -> None:
    wanted = tc.bucket_filter(rate, burst, peak if peak > rate else 0, peak_burst, FRAME)
    qdisc = tc.parse_qdisc(tc.encode_bucket(7, wanted))
    assert (qdisc.interface, qdisc.kind) == (7, "tbf")
    assert (qdisc.handle, qdisc.parent) == (tc.ROOT_HANDLE, tc.TC_H_ROOT)
    assert qdisc.bucket is not None
    # A request carries buckets up to the largest number of ticks; the kernel tells the lower half.
    shown = wanted.shown()
    for exact, told in (
        (shown.buffer, qdisc.bucket.buffer),
        (shown.peak_buffer, qdisc.bucket.peak_buffer),
    ):
        assert told == min(exact, 2**32 - 1)
    truncated = tc.ShownBucket(
        shown.rate,
        shown.limit,
        shown.buffer & 0xFFFFFFFF,
        shown.peak_rate,
        shown.peak_buffer & 0xFFFFFFFF,
    )
    assert truncated.same_as(shown)


@given(st.integers(125, 10**9), st.integers(2000, 10**9))
def test_another_limit_is_told_apart(rate: int, burst: int) -> None:
    wanted = tc.bucket_filter(rate, burst, 0, 0, FRAME).shown()
    assert not tc.bucket_filter(rate + 1, burst, 0, 0, FRAME).shown().same_as(wanted)
    assert not tc.bucket_filter(rate, burst + 1, 0, 0, FRAME).shown().same_as(wanted)


def test_rates_of_more_than_32_bits_have_their_own_attributes() -> None:
    assert tc.parse_qdisc(
        tc.encode_bucket(1, tc.bucket_filter(5 * 10**9, 10**9, 6 * 10**9, 10**6, FRAME))
    ).bucket == tc.ShownBucket(
        rate=5 * 10**9,
        limit=150_000_000 + 10**6,
        buffer=10**9 * 10**9 // (5 * 10**9) >> 6,
        peak_rate=6 * 10**9,
        peak_buffer=10**6 * 10**9 // (6 * 10**9) >> 6,
    )


def test_a_redirection_is_recognised() -> None:
    assert tc.parse_filter(tc.encode_redirection(3, 9)) == tc.Redirection(1, 9)


def test_heads_of_filter_lists_are_no_filters() -> None:
    header = struct.pack("=BxxxiIII", 0, 3, 0, tc.INGRESS_HANDLE, 1 << 16)
    assert tc.parse_filter(header + attribute_string(1, "u32")) is None
    assert tc.parse_filter(header + attribute_string(1, "u32") + nested(2)) is None


def test_filters_of_others_are_foreign() -> None:
    header = struct.pack("=BxxxiIII", 0, 3, 0, tc.INGRESS_HANDLE, 49152 << 16)
    assert tc.parse_filter(header + attribute_string(1, "bpf")) == tc.Redirection(49152, None)


def test_the_kind_of_a_link() -> None:
    body = tc.encode_ifb("bwcali012345678", 1450)
    assert tc.link_kind(body) == "ifb"
    assert attributes(body, 16)[4] == struct.pack("=I", 1450)
    assert tc.link_kind(tc.link_request("eth0")) == ""

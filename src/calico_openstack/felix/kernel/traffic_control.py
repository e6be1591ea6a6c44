"""Queueing disciplines, filters and IFB devices in rtnetlink's form, both ways. Pure.

Token bucket filters (tc-tbf(8), linux/pkt_sched.h): the kernel counts buckets in ticks of 64 ns
that a byte takes at the bucket's rate. It is told the size in bytes, which has no limit but 32
bits; what it tells itself is in ticks, of which it keeps the lower 32 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct

from calico_openstack.netlink.protocol import (
    attribute,
    attribute_string,
    attributes,
    iterate_attributes,
    nested,
    string,
)

NLM_F_ECHO = 0x8

TC_H_ROOT = 0xFFFFFFFF
TC_H_INGRESS = 0xFFFFFFF1
INGRESS_HANDLE = 0xFFFF0000
ROOT_HANDLE = 0x00010000

TBF, INGRESS, IFB = "tbf", "ingress", "ifb"

_U32_MAXIMUM = 0xFFFFFFFF
_NANOSECONDS = 10**9
_TICK_SHIFT = 6  # PSCHED_SHIFT: a tick is 64 ns
# How long a packet may wait; specification section 3.17.
_LATENCY_MILLISECONDS = 25


class TcMessage(IntEnum):
    """Kinds of rtnetlink messages about traffic control (linux/rtnetlink.h)."""

    NEWQDISC = 36
    DELQDISC = 37
    GETQDISC = 38
    NEWTFILTER = 44
    DELTFILTER = 45
    GETTFILTER = 46


# struct tcmsg: family, interface, handle, parent, info.
_TC_HEADER = struct.Struct("=BxxxiIII")
# struct ifinfomsg
_LINK_HEADER = struct.Struct("=BxHiII")
# struct tc_ratespec twice, then limit, buffer and mtu of struct tc_tbf_qopt.
_TBF_OPTIONS = struct.Struct("=BBHhHI BBHhHI III".replace(" ", ""))
# struct tc_u32_sel, and tc_u32_key: mask and word in network byte order, offset.
_U32_SELECTOR = struct.Struct("=BBBxHHhhI")
_U32_KEY = struct.Struct("=4s4sii")
_NO_MASK = b"\xff" * 4
# struct tc_mirred: index, capabilities, action, references, bindings, what to do, interface.
_MIRRED = struct.Struct("=IIiiiiI")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")

_TCA_KIND, _TCA_OPTIONS = 1, 2
_TBF_PARAMETERS, _TBF_RATE64, _TBF_PEAK64, _TBF_BURST, _TBF_PEAK_BURST = 1, 4, 5, 6, 7
_U32_SEL, _U32_ACTIONS = 5, 7
_ACTION_KIND, _ACTION_OPTIONS = 1, 2
_MIRRED_PARAMETERS = 2
_IFLA_NAME, _IFLA_MTU, _IFLA_LINKINFO, _INFO_KIND = 3, 4, 18, 1

_LINKLAYER_ETHERNET = 1
_U32_TERMINAL = 1
_EGRESS_REDIRECT, _INGRESS_REDIRECT = 1, 3
_ACTION_STOLEN = 4
_IFF_UP = 1
_ETH_P_ALL = 0x0300  # in network byte order
_PRIORITY = 1


# --- token buckets --------------------------------------------------------------------------------


class BucketFilter(Struct, frozen=True):
    """A token bucket filter as it is asked for: bytes/s and bytes; *peak_rate* 0: no peak.

    *limit* is how many bytes may wait for tokens.
    """

    rate: int
    burst: int
    limit: int
    peak_rate: int = 0
    peak_burst: int = 0

    def shown(self) -> ShownBucket:
        """Return what the kernel tells of such a filter."""
        return ShownBucket(
            rate=self.rate,
            limit=self.limit,
            buffer=_ticks(self.burst, self.rate),
            peak_rate=self.peak_rate,
            peak_buffer=_ticks(self.peak_burst, self.peak_rate) if self.peak_rate else 0,
        )


class ShownBucket(Struct, frozen=True):
    """A token bucket filter as the kernel describes it: buckets in ticks modulo 2^32."""

    rate: int
    limit: int
    buffer: int
    peak_rate: int = 0
    peak_buffer: int = 0

    def same_as(self, other: ShownBucket) -> bool:
        """Tell whether two describe the same filter.

        The kernel multiplies by a reciprocal of 31 significant bits where we divide.
        """
        exact = (self.rate, self.limit, self.peak_rate) == (
            other.rate,
            other.limit,
            other.peak_rate,
        )
        return (
            exact
            and _close(self.buffer, other.buffer)
            and _close(self.peak_buffer, other.peak_buffer)
        )


def bucket_filter(
    rate: int, burst: int, peak_rate: int, peak_burst: int, frame: int
) -> BucketFilter:
    """Return the filter for a limit on an interface whose largest *frame* has that many bytes.

    A bucket smaller than a frame would let no full frame pass, ever: the frame is the least.
    Rates in bytes/s, bursts in bytes; *peak_rate* 0 is none.
    """
    burst = min(max(burst, frame), _U32_MAXIMUM)
    limit = _limit(rate, burst)
    if not peak_rate:
        return BucketFilter(rate, burst, limit)
    peak_burst = min(max(peak_burst, frame), _U32_MAXIMUM)
    limit = min(limit, _limit(peak_rate, peak_burst))
    return BucketFilter(rate, burst, limit, peak_rate, peak_burst)


def _limit(rate: int, burst: int) -> int:
    return min(rate * _LATENCY_MILLISECONDS // 1000 + burst, _U32_MAXIMUM)


def _ticks(size: int, rate: int) -> int:
    return size * _NANOSECONDS // rate >> _TICK_SHIFT


def _close(one: int, other: int) -> bool:
    difference = (one - other) & _U32_MAXIMUM
    distance = min(difference, (1 << 32) - difference)
    return distance <= 2 + (max(one, other) >> 29)


# --- queueing disciplines -------------------------------------------------------------------------


class Qdisc(Struct, frozen=True):
    """A queueing discipline of an interface; *bucket* is set for token bucket filters."""

    interface: int
    kind: str
    handle: int
    parent: int
    bucket: ShownBucket | None = None


def qdisc_request(interface: int, parent: int) -> bytes:
    """Return the body that asks for, or removes, the discipline below *parent*."""
    return _TC_HEADER.pack(0, interface, 0, parent, 0)


def all_qdiscs_request() -> bytes:
    """Return the body of a request for all disciplines of all interfaces."""
    return _TC_HEADER.pack(0, 0, 0, 0, 0)


def encode_ingress(interface: int) -> bytes:
    """Return the body that makes the discipline to which filters of received packets belong."""
    header = _TC_HEADER.pack(0, interface, INGRESS_HANDLE, TC_H_INGRESS, 0)
    return header + attribute_string(_TCA_KIND, INGRESS)


def encode_bucket(interface: int, bucket: BucketFilter) -> bytes:
    """Return the body that makes a token bucket filter the root discipline of an interface."""
    shown = bucket.shown()
    parameters = _TBF_OPTIONS.pack(
        *_rate(bucket.rate),
        *_rate(bucket.peak_rate),
        bucket.limit,
        min(shown.buffer, _U32_MAXIMUM),
        min(shown.peak_buffer, _U32_MAXIMUM),
    )
    options = [
        attribute(_TBF_PARAMETERS, parameters),
        attribute(_TBF_BURST, _U32.pack(bucket.burst)),
    ]
    if bucket.rate > _U32_MAXIMUM:
        options.append(attribute(_TBF_RATE64, _U64.pack(bucket.rate)))
    if bucket.peak_rate > _U32_MAXIMUM:
        options.append(attribute(_TBF_PEAK64, _U64.pack(bucket.peak_rate)))
    if bucket.peak_rate:
        options.append(attribute(_TBF_PEAK_BURST, _U32.pack(bucket.peak_burst)))
    return (
        _TC_HEADER.pack(0, interface, ROOT_HANDLE, TC_H_ROOT, 0)
        + attribute_string(_TCA_KIND, TBF)
        + nested(_TCA_OPTIONS, *options)
    )


def _rate(rate: int) -> tuple[int, int, int, int, int, int]:
    # With a link layer named, no table of transmission times is needed.
    return 0, _LINKLAYER_ETHERNET if rate else 0, 0, 0, 0, min(rate, _U32_MAXIMUM)


def parse_qdisc(body: bytes) -> Qdisc:
    """Return the discipline that a NEWQDISC or DELQDISC message describes."""
    _, interface, handle, parent, _ = _TC_HEADER.unpack_from(body)
    found = attributes(body, _TC_HEADER.size)
    kind = string(found.get(_TCA_KIND, b""))
    bucket = _parse_bucket(found.get(_TCA_OPTIONS, b"")) if kind == TBF else None
    return Qdisc(interface, kind, handle, parent, bucket)


def _parse_bucket(options: bytes) -> ShownBucket | None:
    found = attributes(options)
    parameters = found.get(_TBF_PARAMETERS, b"")
    if len(parameters) < _TBF_OPTIONS.size:
        return None
    values = _TBF_OPTIONS.unpack_from(parameters)
    rate, peak = values[5], values[11]
    if _TBF_RATE64 in found:
        (rate,) = _U64.unpack(found[_TBF_RATE64])
    if _TBF_PEAK64 in found:
        (peak,) = _U64.unpack(found[_TBF_PEAK64])
    limit, buffer, peak_buffer = values[12:15]
    return ShownBucket(rate, limit, buffer, peak, peak_buffer if peak else 0)


def interface_of(body: bytes) -> int:
    """Return the index of the interface that any message about traffic control concerns."""
    return int(_TC_HEADER.unpack_from(body)[1])


# --- filters --------------------------------------------------------------------------------------


class Redirection(Struct, frozen=True):
    """A filter of received packets; *target* is the interface it sends all to, None: another kind.

    The target is 0 when that interface exists no more.
    """

    priority: int
    target: int | None


def filters_request(interface: int) -> bytes:
    """Return the body of a request for the filters of received packets."""
    return _TC_HEADER.pack(0, interface, 0, INGRESS_HANDLE, 0)


def encode_redirection(
    interface: int, target: int, words: Sequence[tuple[int, bytes]] = (), *, received: bool = False
) -> bytes:
    """Return the body that makes a filter sending received packets out of *target*.

    Those that have *words* of four bytes at offsets from the network header, all without any.
    *received*: they are taken to have been received by the target instead.
    """
    what = _INGRESS_REDIRECT if received else _EGRESS_REDIRECT
    mirred = _MIRRED.pack(0, 0, _ACTION_STOLEN, 0, 0, what, target)
    action = nested(
        1,
        attribute_string(_ACTION_KIND, "mirred"),
        nested(_ACTION_OPTIONS, attribute(_MIRRED_PARAMETERS, mirred)),
    )
    keys = [_U32_KEY.pack(_NO_MASK, word, offset, 0) for offset, word in words]
    keys = keys or [_U32_KEY.pack(bytes(4), bytes(4), 0, 0)]
    selector = _U32_SELECTOR.pack(_U32_TERMINAL, 0, len(keys), 0, 0, 0, 0, 0) + b"".join(keys)
    return (
        _TC_HEADER.pack(0, interface, 0, INGRESS_HANDLE, _PRIORITY << 16 | _ETH_P_ALL)
        + attribute_string(_TCA_KIND, "u32")
        + nested(_TCA_OPTIONS, attribute(_U32_SEL, selector), nested(_U32_ACTIONS, action))
    )


def filter_removal(interface: int, priority: int) -> bytes:
    """Return the body that removes all filters of one priority."""
    return _TC_HEADER.pack(0, interface, 0, INGRESS_HANDLE, priority << 16)


def parse_filter(body: bytes) -> Redirection | None:
    """Return the filter of a NEWTFILTER message, None for what is only the frame of others."""
    _, _, _, _, info = _TC_HEADER.unpack_from(body)
    priority = info >> 16
    found = attributes(body, _TC_HEADER.size)
    if string(found.get(_TCA_KIND, b"")) != "u32":
        return Redirection(priority, None)
    options = attributes(found.get(_TCA_OPTIONS, b""))
    if _U32_SEL not in options:
        # The head of the list, or the hash table in which u32 keeps its filters.
        return None
    return Redirection(priority, _redirects_to(options.get(_U32_ACTIONS, b"")))


def _redirects_to(actions: bytes) -> int | None:
    """Return where the only action sends packets, None when it does something else."""
    each = [payload for _, payload in iterate_attributes(actions)]
    if len(each) != 1:
        return None
    found = attributes(each[0])
    parameters = attributes(found.get(_ACTION_OPTIONS, b"")).get(_MIRRED_PARAMETERS, b"")
    if string(found.get(_ACTION_KIND, b"")) != "mirred" or len(parameters) < _MIRRED.size:
        return None
    *_, what, target = _MIRRED.unpack_from(parameters)
    return int(target) if what == _EGRESS_REDIRECT else None


# --- IFB devices ----------------------------------------------------------------------------------


def link_request(name: str) -> bytes:
    """Return the body of a request for the link *name*."""
    return _LINK_HEADER.pack(0, 0, 0, 0, 0) + attribute_string(_IFLA_NAME, name)


def encode_ifb(name: str, mtu: int) -> bytes:
    """Return the body that makes an IFB device, or brings one that exists up, with this MTU."""
    return (
        _LINK_HEADER.pack(0, 0, 0, _IFF_UP, _IFF_UP)
        + attribute_string(_IFLA_NAME, name)
        + attribute(_IFLA_MTU, _U32.pack(mtu))
        + nested(_IFLA_LINKINFO, attribute_string(_INFO_KIND, IFB))
    )


def link_removal(index: int) -> bytes:
    """Return the body that removes a link."""
    return _LINK_HEADER.pack(0, 0, index, 0, 0)


def link_kind(body: bytes) -> str:
    """Return the kind of the link of a NEWLINK message, "" for one without."""
    info = attributes(body, _LINK_HEADER.size).get(_IFLA_LINKINFO, b"")
    return string(attributes(info).get(_INFO_KIND, b""))

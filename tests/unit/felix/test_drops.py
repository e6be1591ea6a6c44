"""From the steps of traced packets to drops with their reasons."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.drops import Drop, DropLog, direction, packet_text, reason
from calico_openstack.felix.journeys import JourneyLog
from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.followed_packets import Followed
from calico_openstack.felix.kernel.packet_tracing import TracedStep, parsed_step, rule_comment
from calico_openstack.felix.render.renderer import IP_TABLE
from calico_openstack.netlink.protocol import attribute, attribute_be32, attribute_string, nested

IPV4 = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
TCP = struct.pack(">HH", 49152, 5432) + bytes(16)
INTERFACES = {3: "tap1", 4: "tap2"}


def step(**changes: Any) -> TracedStep:
    values = {
        "packet": 1,
        "table": IP_TABLE,
        "table_name": "calico",
        "chain": "in-class-1",
        "handle": 5,
        "dropped": False,
        "accepted": False,
        **changes,
    }
    return TracedStep(**values)


FIRST = step(
    chain="filter-forward", network_header=IPV4, transport_header=TCP, incoming=3, outgoing=4
)
LAST = step(dropped=True)


def drops(*steps: TracedStep, comment: str = "end of tier default") -> list[Drop]:
    log = DropLog(lambda _step: comment)
    for each in steps:
        log.take(each, INTERFACES, 1000.0)
    return list(log.entries())


def test_headers_of_an_earlier_step_are_remembered() -> None:
    (drop,) = drops(FIRST, LAST)
    assert drop.packet == "TCP 10.0.0.1 -> 10.0.0.2 port 5432"
    assert (drop.incoming, drop.outgoing, drop.direction) == ("tap1", "tap2", "ingress")
    assert drop.reason == "default deny"


@pytest.mark.parametrize(
    ("chain", "comment", "expected"),
    [
        ("in-class-1", "no policy or profile decided", "ingress"),
        ("out-class-1", "no policy or profile decided", "egress"),
        ("in-rate-1", "packet rate of openstack/one", "ingress"),
        # Who receives is looked up in the same chain as who sends.
        ("filter-forward", "to an unknown workload interface", "ingress"),
        ("from-workload", "from an unknown workload interface", "egress"),
        ("forward-in-class-1", "end of tier default", "ingress"),
        ("forward-out-class-1", "end of tier default", "egress"),
        ("to-host-forward", "invalid to conntrack", "egress"),
    ],
)
def test_directions(chain: str, comment: str, expected: str) -> None:
    assert direction(chain, comment) == expected


def test_what_is_accepted_is_no_drop() -> None:
    assert drops(FIRST, step(accepted=True)) == []


def test_the_same_drop_is_counted_and_gets_a_new_number() -> None:
    again = step(packet=2, dropped=True, network_header=IPV4, transport_header=TCP)
    first = step(dropped=True, network_header=IPV4, transport_header=TCP)
    (drop,) = drops(first, again)
    assert (drop.count, drop.number) == (2, 2)


def test_packets_without_an_end_do_not_pile_up() -> None:
    log = DropLog(lambda _step: "")
    for number in range(10_000):
        log.take(step(packet=number), INTERFACES, 0.0)
    assert len(log._packets) < 5000


@pytest.mark.parametrize(
    ("table", "comment", "expected"),
    [
        ("calico", "not the workload's source address", "spoofed"),
        ("calico", "end of tier gold", "default deny"),
        ("calico", "no policy or profile decided", "no policy"),
        ("calico", "gnp/no-smtp egress[0]", "explicit deny"),
        ("calico", "invalid to conntrack", "invalid"),
        ("calico", "packet rate of openstack/x", "rate"),
        ("calico", "connections of openstack/x", "connections"),
        ("calico", "from an unknown workload interface", "unknown interface"),
        ("calico", "workloads may not reach their host", "to the host"),
        ("calico", "", "other"),
        ("filter", "end of tier default", "by others' rules"),
    ],
)
def test_reasons_are_those_of_the_rules(table: str, comment: str, expected: str) -> None:
    assert reason(step(table_name=table), comment) == expected


def test_ipv6_and_protocols_without_ports_are_told() -> None:
    header = bytes([0x60, 0, 0, 0, 0, 0, 58, 64]) + bytes(15) + b"\1" + bytes(15) + b"\2"
    assert packet_text(header, b"") == "ICMPv6 ::1 -> ::2"
    assert packet_text(b"", b"") == "a packet"


@given(st.binary(max_size=60), st.binary(max_size=30))
def test_any_headers_have_a_text(network: bytes, transport: bytes) -> None:
    assert packet_text(network, transport)


def message(kind: int, verdict: int, **more: Mapping[int, bytes]) -> bytes:
    return (
        nft.NFGENMSG.pack(2, 0, 0)
        + attribute_string(1, "calico")
        + attribute_string(2, "chain")
        + attribute(3, (7).to_bytes(8, "big"))
        + attribute_be32(4, kind)
        + nested(5, attribute_be32(nft.VERDICT_CODE, verdict))
        + attribute_be32(6, 99)
        + attribute(8, IPV4)
        + attribute_be32(10, 3)
    )


def test_steps_are_read_from_the_kernels_messages() -> None:
    found = parsed_step(message(3, 0))
    assert (found.packet, found.chain, found.handle) == (99, "chain", 7)
    assert (found.table, found.version, found.incoming) == (IP_TABLE, 4, 3)
    assert found.dropped
    assert parsed_step(message(3, 1)).accepted
    assert not parsed_step(message(3, 0xFFFFFFFD)).dropped


def test_journeys_are_those_of_the_ends_that_were_asked_for() -> None:
    followed = Followed((IPV4[12:16],), (IPV4[16:20],), 6)
    log = JourneyLog(followed, lambda each: f"rule {each.handle}")
    stranger = bytes([*IPV4[:12], 9, 9, 9, 9, *IPV4[16:]])
    for each in (
        FIRST,
        step(packet=2, network_header=stranger),
        step(packet=2, dropped=True),
        step(handle=0, verdict="accept", accepted=True),
    ):
        log.take(each, INTERFACES, 1000.0)
    passed = list(log.entries())
    assert [(each.packet, each.rule) for each in passed] == [
        ("1", "rule 5"),
        ("1", "end of the chain"),
    ]
    assert passed[1].outgoing == "tap2"
    assert passed[1].verdict == "accept"


def test_comments_come_without_the_hash_of_ours() -> None:
    assert rule_comment(b"\0\x13cali:0123456;words\0") == "words"
    assert rule_comment(b"\0\x06other\0") == "other"
    assert rule_comment(b"\1\x06other\0") == rule_comment(b"") == ""

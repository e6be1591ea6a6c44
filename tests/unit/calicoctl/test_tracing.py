"""How the way of a packet through the rules is told."""

from __future__ import annotations

import pytest

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.calicoctl.ends import End, packet_of
from calico_openstack.calicoctl.tracing import first, lines, match_of


def step(packet: str, place: str, rule: str, verdict: str) -> Row:
    words = {"words": "TCP 10.0.0.1 -> 10.0.0.2 port 80", "incoming": "tap1", "outgoing": ""}
    return {"packet": packet, "place": place, "rule": rule, "verdict": verdict, **words}


STEPS = [
    step("1", "ip calico-trace followed", "rule with handle 2", "continue"),
    step("1", "ip calico raw-prerouting", "goto anti-spoofing", "goto anti-spoofing"),
    step("1", "ip calico raw-prerouting", "end of the chain", "continue"),
    step("1", "ip calico anti-spoofing", "counter drop # not the workload's", "drop"),
    step("2", "ip calico raw-prerouting", "end of the chain", "accept"),
]


def test_the_first_packet_is_told_rule_by_rule_to_its_end() -> None:
    assert list(lines("h", first(STEPS))) == [
        "",
        "h: TCP 10.0.0.1 -> 10.0.0.2 port 80",
        "  ip calico raw-prerouting in tap1",
        "    GOTO     goto anti-spoofing",
        "  ip calico anti-spoofing in tap1",
        "    DROP     counter drop # not the workload's",
        "  DROPPED there: counter drop # not the workload's",
    ]
    assert list(lines("h", first(STEPS[4:])))[-1].endswith("without being dropped")


def test_a_host_that_the_packet_did_not_reach_is_told_too() -> None:
    assert first([]) == []
    assert list(lines("h", []))[-1] == "h: the packet did not come here"


@pytest.mark.parametrize(
    ("what", "floating", "expected"),
    [
        ("tcp/80", "", "10.0.0.1 10.0.0.2 6 80"),
        ("icmp", "198.51.100.1", "10.0.0.1 10.0.0.2,198.51.100.1 1"),
    ],
)
def test_hosts_are_asked_in_numbers(what: str, floating: str, expected: str) -> None:
    ends = End("10.0.0.1"), End("10.0.0.2", floating=floating)
    assert match_of(packet_of(what, *ends), *ends) == expected

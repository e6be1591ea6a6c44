"""How the way of a packet through the rules is told."""

from __future__ import annotations

import pytest

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.calicoctl.ends import End, packet_of
from calico_openstack.calicoctl.journey import ARRIVED, BACK, Route, entitled, first, lines, outcome
from calico_openstack.calicoctl.tracing import match_of


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
    assert list(lines("h", first(STEPS), {})) == [
        "",
        "h: TCP 10.0.0.1 -> 10.0.0.2 port 80",
        "  ip calico raw-prerouting in tap1",
        "    GOTO     goto anti-spoofing",
        "  ip calico anti-spoofing in tap1",
        "    DROP     counter drop # not the workload's",
        "  DROPPED there: counter drop # not the workload's",
    ]
    assert list(lines("h", first(STEPS[4:]), {}))[-1].endswith("without being dropped")


def test_a_host_that_the_packet_did_not_reach_is_told_too() -> None:
    assert first([]) == []
    assert list(lines("h", [], {}))[-1] == "h: the packet did not come here"


@pytest.mark.parametrize(
    ("what", "floating", "token", "expected"),
    [
        ("tcp/80", "", None, "10.0.0.1 10.0.0.2 6 80"),
        ("tcp/80", "", 61000, "10.0.0.1 10.0.0.2 6 80 61000"),
        ("icmp", "198.51.100.1", None, "10.0.0.1 198.51.100.1,10.0.0.2 1"),
        ("icmp", "", 61000, "10.0.0.1 10.0.0.2 1 - 61000"),
    ],
)
def test_hosts_are_asked_in_numbers(
    what: str, floating: str, token: int | None, expected: str
) -> None:
    ends = End("10.0.0.1"), End("10.0.0.2", floating=floating)
    assert match_of(packet_of(what, *ends), *ends, token) == expected


def at(
    way: str, verdict: str = "accept", out: str = "", words: str = "TCP (SYN)", **more: str
) -> Row:
    found = {"packet": way, "way": way, "place": "ip calico x", "rule": "r", "incoming": ""}
    return {**found, "verdict": verdict, "outgoing": out, "words": words, **more}


ROUTE = Route("h1", "tap1", "h2", "tap2", probe=True)
LEFT = at("there", out="eth0")
ARRIVAL = at("there", ARRIVED, "tap2")


@pytest.mark.parametrize(
    ("first_host", "second_host", "words", "arrived", "answered"),
    [
        ([], [], "in front of nftables", None, None),
        ([at("there", "drop")], [], "DROPPED on h1: r", False, None),
        ([at("there")], [], "was not forwarded", False, None),
        ([LEFT], [], "was not seen on h2", False, None),
        ([LEFT], [at("there", "drop")], "DROPPED on h2: r", False, None),
        ([LEFT], [at("there")], "not handed to tap2", False, None),
        ([LEFT], [LEFT, ARRIVAL], "There was no answer", True, False),
        ([LEFT], [ARRIVAL, at(BACK)], "An answer was seen on h2, but did not", True, False),
        ([LEFT, at(BACK, "drop")], [LEFT, ARRIVAL], "was DROPPED on h1", True, False),
        (
            [LEFT, at(BACK), at(BACK, ARRIVED, "tap1", "(SYN+ACK)")],
            [LEFT, ARRIVAL],
            "It was answered (SYN+ACK), which arrived at tap1",
            True,
            True,
        ),
        (
            [LEFT, at(BACK), at(BACK, ARRIVED, "tap1", "(ACK+RST)")],
            [LEFT, ARRIVAL],
            "refuses",
            True,
            True,
        ),
    ],
)
def test_what_became_of_a_probe_is_told(
    first_host: list[Row],
    second_host: list[Row],
    words: str,
    arrived: bool | None,
    answered: bool | None,
) -> None:
    found = outcome({"h1": first_host, "h2": second_host}, ROUTE)
    assert words in found.words[-1]
    assert (found.arrived, found.answered) == (arrived, answered)


def test_a_probe_to_the_outside_leaves_and_may_be_answered() -> None:
    route = Route("h1", "tap1", "", "", probe=True)
    gone = outcome({"h1": [LEFT]}, route)
    assert gone.words[0] == "It left h1 by eth0, for the outside"
    assert gone.arrived is None
    lost = outcome({"h1": [at("there")]}, route)
    assert (lost.arrived, "no route" in lost.words[0]) == (False, True)


@pytest.mark.parametrize(
    ("place", "code", "told"),
    [
        ("ip calico x", 0, "ICMP 172.30.0.1 says that it cannot be reached"),
        ("ip calico x", 3, "the other end was reached, and refuses"),
        ("ip6 calico x", 3, "says that it cannot be reached"),
        ("ip6 calico x", 4, "the other end was reached, and refuses"),
    ],
)
def test_a_router_that_refuses_is_not_the_other_end(place: str, code: int, told: str) -> None:
    kind = f"(destination unreachable, code {code})"
    back = {**at(BACK, words=f"ICMP 172.30.0.1 -> 10.0.0.1 {kind}"), "place": place}
    arrival = {**at(BACK, ARRIVED, "tap1", kind), "place": "interface tap1"}
    found = outcome({"h1": [LEFT, back, arrival]}, Route("h1", "tap1", "", "", probe=True))
    assert told in found.words[-1]


def test_security_groups_are_named_beside_their_rules() -> None:
    titles = {"ossg.default.1": "security group web", "ossg.default.2": "security group db"}
    assert entitled("accept # np/openstack/ossg.default.1 ingress[0]", titles).endswith(
        " (security group web)"
    )
    assert entitled("drop", titles) == "drop"

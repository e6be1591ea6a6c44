"""Rules as people read them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from calico_openstack.felix.render.nft import (
    DROP,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    Expression,
    Field,
    InNetwork,
    InRange,
    InSet,
    Limit,
    Log,
    NatKind,
    OffloadFlow,
    RewriteTcp,
    Rule,
    SourceNat,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.felix.render.nft_text import element_text, rule_text


@pytest.mark.parametrize(
    ("expressions", "text"),
    [
        ((Compare(Field.IIFNAME, b"tap", prefix=True), DROP), 'meta iifname "tap*" drop'),
        ((Compare(Field.IP_SADDR, bytes((10, 0, 0, 1)), invert=True),), "ip saddr != 10.0.0.1"),
        ((InNetwork(Field.IP_DADDR, ip_network("10.0.0.0/8")),), "ip daddr 10.0.0.0/8"),
        ((InRange(Field.TH_DPORT, 80, 90), Counter()), "th dport 80-90 counter"),
        ((InSet((Field.IP_SADDR, Field.TH_DPORT), "s"),), "ip saddr . th dport @s"),
        ((CtStateIs(CtState.ESTABLISHED | CtState.RELATED),), "ct state established,related"),
        ((VerdictMap((Field.OIFNAME,), "to"),), "meta oifname vmap @to"),
        ((Verdict(VerdictKind.GOTO, "there"),), "goto there"),
        ((Limit(5, 1, 10, over=True),), "limit rate over 5/1s burst 10 packets"),
        ((Log("p: ", 3),), 'log prefix "p: " group 3'),
        ((SourceNat(),), "masquerade"),
        (
            (RewriteTcp(NatKind.DESTINATION, bytes((127, 0, 0, 1)), 8775),),
            "ip daddr set 127.0.0.1 tcp dport set 8775",
        ),
        ((OffloadFlow("flows"),), "flow add @flows"),
    ],
)
def test_rules_read_like_those_of_nft(expressions: tuple[Expression, ...], text: str) -> None:
    assert rule_text(Rule(expressions)) == text


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (b"tap1".ljust(16, b"\0"), "tap1"),
        (b"tap1".ljust(16, b"\0") + bytes((10, 0, 0, 1)), "tap1 . 10.0.0.1"),
        (bytes((10, 0, 0, 1)), "10.0.0.1"),
        (bytes(15) + b"\1", "::1"),
        (bytes((10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0)), "10.0.0.1 . 6 . 80"),
    ],
)
def test_elements_are_told_by_their_layout(element: bytes, text: str) -> None:
    assert element_text(element) == text

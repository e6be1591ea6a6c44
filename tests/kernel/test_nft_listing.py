"""What the driver programs, as nft(8) lists it: the encoding is nft's own, whatever the object."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    DestinationIsLocal,
    DestinationNat,
    Expression,
    Family,
    Field,
    Hook,
    InNetwork,
    InRange,
    InSet,
    KeyType,
    Limit,
    Log,
    MarkBits,
    MoreConnections,
    NatKind,
    Range,
    Reject,
    RewriteTcp,
    Rule,
    Ruleset,
    Set,
    SetDscp,
    SetMark,
    Table,
    TableState,
    Trace,
    Untrack,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

IPV4 = Table(Family.IP, "calico")
IPV6 = Table(Family.IP6, "calico")
ARP = Table(Family.ARP, "calico-arp")
TABLES = (IPV4, IPV6, ARP)
FORWARD = Hook("filter", "forward", 0)

TCP = Compare(Field.L4PROTO, b"\x06")
ICMP = Compare(Field.L4PROTO, b"\x01")
ICMPV6 = Compare(Field.L4PROTO, b"\x3a")


def ipv4(text: str) -> bytes:
    return IPv4Address(text).packed


def ipv6(text: str) -> bytes:
    return IPv6Address(text).packed


def ifname(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


SETS = {
    "addresses": Set((KeyType.IPV4,)),
    "sources": Set((KeyType.IFNAME, KeyType.IPV4)),
    "named-ports": Set((KeyType.IPV4, KeyType.PROTOCOL, KeyType.PORT)),
    "networks": Set((KeyType.IPV4,), interval=True),
    "ports-of": Set((KeyType.IPV4, KeyType.PORT), interval=True),
    "ports": Set((KeyType.PORT,)),
    "names": Set((KeyType.IFNAME,)),
    "dispatch": Set((KeyType.IFNAME,), verdicts=True),
    "by-index": Set((KeyType.INTERFACE, KeyType.IPV4), size=64),
    "dispatch-by-index": Set((KeyType.INTERFACE,), verdicts=True, size=64),
}

IPV4_RULES: list[tuple[tuple[Expression, ...], str]] = [
    ((Compare(Field.IIFNAME, b"tap", prefix=True), DROP), 'iifname "tap*" drop'),
    ((Compare(Field.IIFNAME, b"tap", prefix=True, invert=True),), 'iifname != "tap*"'),
    ((Compare(Field.OIFNAME, b"tap1"), ACCEPT), 'oifname "tap1" accept'),
    ((Compare(Field.OIF, bytes(4), invert=True), ACCEPT), "oif != 0 accept"),
    ((Compare(Field.MARK, b"\0\0\1\0"),), "meta mark 0x00000100"),
    ((TCP, Compare(Field.TH_DPORT, b"\0\x50")), "tcp dport 80"),
    ((TCP, Compare(Field.TH_SPORT, b"\0\x50", invert=True)), "tcp sport != 80"),
    ((ICMP, Compare(Field.ICMP_TYPE, b"\x08")), "icmp type echo-request"),
    (
        (ICMP, Compare(Field.ICMP_TYPE, b"\x03"), Compare(Field.ICMP_CODE, b"\x01")),
        "icmp type destination-unreachable icmp code host-unreachable",
    ),
    ((Compare(Field.L4PROTO, b"\x84", invert=True),), "meta l4proto != sctp"),
    (
        (
            Compare(Field.L4PROTO, bytes([47])),
            InSet((Field.IP_SADDR, Field.L4PROTO, Field.TH_DPORT), "named-ports"),
        ),
        "meta l4proto 47-47 ip saddr . meta l4proto . th dport @named-ports",
    ),
    (
        (InSet((Field.IP_SADDR, Field.L4PROTO, Field.TH_DPORT), "named-ports", prefix=22),),
        "ip saddr & 255.255.252.0 . meta l4proto . th dport @named-ports",
    ),
    ((Untrack(),), "notrack"),
    ((Trace(),), "meta nftrace set 1"),
    ((InNetwork(Field.IP_SADDR, IPv4Network("10.0.0.0/8")),), "ip saddr 10.0.0.0/8"),
    ((InNetwork(Field.IP_SADDR, IPv4Network("10.64.0.0/10")),), "ip saddr 10.64.0.0/10"),
    (
        (InNetwork(Field.IP_DADDR, IPv4Network("10.1.2.0/24"), invert=True),),
        "ip daddr != 10.1.2.0/24",
    ),
    ((InNetwork(Field.IP_DADDR, IPv4Network("10.1.2.3/32")),), "ip daddr 10.1.2.3"),
    ((InNetwork(Field.IP_DADDR, IPv4Network("0.0.0.0/0")), ACCEPT), "accept"),
    ((TCP, InRange(Field.TH_DPORT, 1000, 2000)), "tcp dport 1000-2000"),
    ((InRange(Field.TH_DPORT, 0, 65535, invert=True),), "th dport != 0-65535"),
    ((InSet((Field.IP_SADDR,), "addresses"),), "ip saddr @addresses"),
    ((InSet((Field.IP_DADDR,), "networks", invert=True),), "ip daddr != @networks"),
    ((InSet((Field.IIFNAME, Field.IP_SADDR), "sources"),), "iifname . ip saddr @sources"),
    (
        (InSet((Field.IP_DADDR, Field.L4PROTO, Field.TH_DPORT), "named-ports"),),
        "ip daddr . meta l4proto . th dport @named-ports",
    ),
    (
        (InSet((Field.IP_SADDR, Field.TH_SPORT), "ports-of"),),
        "ip saddr . th sport @ports-of",
    ),
    ((InSet((Field.TH_DPORT,), "ports"),), "th dport @ports"),
    ((InSet((Field.OIFNAME,), "names"),), "oifname @names"),
    ((VerdictMap((Field.IIFNAME,), "dispatch"),), "iifname vmap @dispatch"),
    ((InSet((Field.IIF, Field.IP_SADDR), "by-index"),), "iif . ip saddr @by-index"),
    ((VerdictMap((Field.OIF,), "dispatch-by-index"),), "oif vmap @dispatch-by-index"),
    ((Compare(Field.IP_PROTOCOL, b"\x04"),), "ip protocol ipencap"),
    (
        (TCP, RewriteTcp(NatKind.SOURCE, ipv4("127.0.0.1"), 8775)),
        "meta l4proto tcp ip saddr set 127.0.0.1 tcp sport set 8775",
    ),
    (
        (TCP, RewriteTcp(NatKind.DESTINATION, ipv4("127.0.0.1"), 8775)),
        "meta l4proto tcp ip daddr set 127.0.0.1 tcp dport set 8775",
    ),
    (
        (Compare(Field.TH_DPORT, b"\x12\xb5"), Compare(Field.L4PROTO, b"\x11"), DROP),
        "th dport 4789 meta l4proto udp drop",
    ),
    ((MarkBits(0xFF00, 0x100),), "meta mark & 0x0000ff00 == 0x00000100"),
    ((MarkBits(0xFF00, 0x100, invert=True),), "meta mark & 0x0000ff00 != 0x00000100"),
    (
        (SetMark(0xFF00, 0x300),),
        "meta mark set meta mark & 0xffff03ff | 0x00000300",
    ),
    (
        (CtStateIs(CtState.ESTABLISHED | CtState.RELATED), ACCEPT),
        "ct state established,related accept",
    ),
    ((CtStateIs(CtState.INVALID, invert=True), RETURN), "ct state ! invalid return"),
    ((DestinationIsLocal(), DROP), "fib daddr type local drop"),
    (
        (Limit(10, 1, 5, over=True), DROP),
        "limit rate over 10/second drop",
    ),
    ((Limit(7, 60, 20), ACCEPT), "limit rate 7/minute burst 20 packets accept"),
    (
        (TCP, MoreConnections(500), Reject(tcp_reset=True)),
        "meta l4proto tcp ct count over 500 reject with tcp reset",
    ),
    ((SetDscp(46),), "ip dscp set ef"),
    ((SetDscp(0),), "ip dscp set cs0"),
    ((Counter(), DROP), "counter packets 0 bytes 0 drop"),
    ((Verdict(VerdictKind.JUMP, "target"),), "jump target"),
    ((Verdict(VerdictKind.GOTO, "target"),), "goto target"),
    ((Log("calico-packet: "),), 'log prefix "calico-packet: " level info'),
    ((Log("", group=4),), "log group 4"),
    ((Reject(),), "reject"),
    ((TCP, Reject(tcp_reset=True)), "reject with tcp reset"),
]

IPV6_RULES: list[tuple[tuple[Expression, ...], str]] = [
    ((InNetwork(Field.IP6_SADDR, IPv6Network("fe80::/10")),), "ip6 saddr fe80::/10"),
    ((InNetwork(Field.IP6_DADDR, IPv6Network("fd00::/64")),), "ip6 daddr fd00::/64"),
    ((InNetwork(Field.IP6_DADDR, IPv6Network("fd00::1/128")),), "ip6 daddr fd00::1"),
    (
        (ICMPV6, Compare(Field.ICMPV6_TYPE, bytes([133])), ACCEPT),
        "icmpv6 type nd-router-solicit accept",
    ),
    (
        (
            ICMPV6,
            Compare(Field.ICMPV6_TYPE, bytes([1])),
            Compare(Field.ICMPV6_CODE, bytes([4])),
        ),
        "icmpv6 type destination-unreachable icmpv6 code port-unreachable",
    ),
    ((InSet((Field.IIFNAME, Field.IP6_SADDR), "sources"),), "iifname . ip6 saddr @sources"),
    ((SetDscp(46),), "ip6 dscp set ef"),
    ((SetDscp(62),), "ip6 dscp set 0x3e"),
    ((Reject(),), "reject"),
]


def chain(rules: list[tuple[tuple[Expression, ...], str]], hook: Hook = FORWARD) -> Chain:
    return Chain(tuple(Rule(expressions) for expressions, _ in rules), hook)


def whole_ruleset() -> Ruleset:
    goto = Verdict(VerdictKind.GOTO, "target")
    return {
        IPV4: TableState(
            sets=dict(SETS),
            elements={
                "addresses": {ipv4("10.0.0.1"): None, ipv4("10.0.0.2"): None},
                "sources": {ifname("tap1") + ipv4("10.0.0.1"): None},
                "named-ports": {ipv4("10.0.0.1") + b"\x06\0\0\0" + b"\x1f\x90\0\0": None},
                "networks": {
                    Range(ipv4("0.0.0.0"), ipv4("0.255.255.255")): None,
                    Range(ipv4("10.0.0.0"), ipv4("10.255.255.255")): None,
                    Range(ipv4("11.0.0.0"), ipv4("11.0.0.255")): None,
                    Range(ipv4("192.0.2.7"), ipv4("192.0.2.7")): None,
                    Range(ipv4("255.0.0.0"), ipv4("255.255.255.255")): None,
                },
                "ports-of": {
                    Range(
                        ipv4("10.0.0.0") + b"\0\x50\0\0", ipv4("10.0.0.255") + b"\0\x5a\0\0"
                    ): None
                },
                "ports": {b"\0\x50\0\0": None},
                "names": {ifname("tap1"): None, ifname("tap-longest-nam"): None},
                "dispatch": {ifname("tap1"): goto, ifname("tap2"): DROP},
                # Only of interfaces that are there.
                "by-index": {ifname(name) + ipv4("10.0.0.1"): None for name in ("lo", "tap9")},
                "dispatch-by-index": {ifname("lo"): goto, ifname("tap9"): DROP},
            },
            chains={
                "target": Chain((Rule((ACCEPT,), 'policy "np/openstack/web" ingress 0 ü'),)),
                "forward": chain(IPV4_RULES),
                "nat": Chain(
                    (
                        Rule((TCP, DestinationNat(ipv4("127.0.0.1"), 8775))),
                        Rule((DestinationNat(ipv4("127.0.0.1")),)),
                    ),
                    Hook("nat", "prerouting", -100),
                ),
            },
        ),
        IPV6: TableState(
            sets={
                "sources": Set((KeyType.IFNAME, KeyType.IPV6)),
                "networks": Set((KeyType.IPV6,), interval=True),
            },
            elements={
                "sources": {ifname("tap1") + ipv6("fd00::1"): None},
                "networks": {
                    Range(ipv6("fd00::"), ipv6("fd00::ffff:ffff:ffff:ffff")): None,
                    Range(ipv6("ff00::"), b"\xff" * 16): None,
                },
            },
            chains={
                "forward": chain(IPV6_RULES),
                "nat": Chain(
                    (Rule((TCP, DestinationNat(ipv6("fd00::1"), 80))),),
                    Hook("nat", "prerouting", -100),
                ),
            },
        ),
        ARP: TableState(
            sets={"own": Set((KeyType.IFNAME, KeyType.IPV4))},
            elements={"own": {ifname("tap1") + ipv4("10.0.0.1"): None}},
            chains={
                "output": Chain(
                    (
                        Rule(
                            (
                                Compare(Field.ARP_OPERATION, b"\0\x02"),
                                InSet((Field.OIFNAME, Field.ARP_SADDR_IP), "own"),
                                Counter(),
                                DROP,
                            )
                        ),
                    ),
                    Hook("filter", "output", 0),
                )
            },
        ),
    }


def programmed(namespace: NetworkNamespace) -> NftDriver:
    with namespace.entered():
        driver = NftDriver(TABLES)
        driver.apply(whole_ruleset(), {})
    assert driver.failures == {}
    return driver


def listed(namespace: NetworkNamespace, *what: str) -> list[str]:
    """Lines of ``nft list``, without the hash in front of each comment."""
    text = namespace.run("nft", "list", *what).stdout
    text = re.sub(r' comment "cali:[\w-]{16};"', "", text)
    text = re.sub(r'comment "cali:[\w-]{16}; ', 'comment "', text)
    return [line.strip() for line in text.splitlines()]


def rules_in(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("type ")) + 1
    return lines[start : lines.index("}", start)]


def test_every_ipv4_expression_is_listed(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    rules = rules_in(listed(namespace, "chain", "ip", "calico", "forward"))
    assert rules == [text for _, text in IPV4_RULES]


def test_every_ipv6_expression_is_listed(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    rules = rules_in(listed(namespace, "chain", "ip6", "calico", "forward"))
    assert rules == [text for _, text in IPV6_RULES]


def test_nat_and_arp_are_listed(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    assert rules_in(listed(namespace, "chain", "ip", "calico", "nat")) == [
        "meta l4proto tcp dnat to 127.0.0.1:8775",
        "dnat to 127.0.0.1",
    ]
    assert rules_in(listed(namespace, "chain", "ip6", "calico", "nat")) == [
        "meta l4proto tcp dnat to [fd00::1]:80"
    ]
    assert rules_in(listed(namespace, "chain", "arp", "calico-arp", "output")) == [
        "arp operation reply oifname . arp saddr ip @own counter packets 0 bytes 0 drop"
    ]


def test_comments_are_listed_legibly(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    lines = listed(namespace, "chain", "ip", "calico", "target")
    assert "accept comment \"policy 'np/openstack/web' ingress 0 ü\"" in lines


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("set", "addresses", "type ipv4_addr elements = { 10.0.0.1, 10.0.0.2 }"),
        ("set", "sources", 'type ifname . ipv4_addr elements = { "tap1" . 10.0.0.1 }'),
        (
            "set",
            "named-ports",
            "type ipv4_addr . inet_proto . inet_service elements = { 10.0.0.1 . tcp . 8080 }",
        ),
        (
            "set",
            "networks",
            "type ipv4_addr flags interval elements = { 0.0.0.0/8, 10.0.0.0/8, 11.0.0.0/24, "
            "192.0.2.7, 255.0.0.0/8 }",
        ),
        (
            "set",
            "ports-of",
            "type ipv4_addr . inet_service flags interval elements = { 10.0.0.0/24 . 80-90 }",
        ),
        ("set", "ports", "type inet_service elements = { 80 }"),
        ("set", "names", 'type ifname elements = { "tap-longest-nam", "tap1" }'),
        (
            "map",
            "dispatch",
            'type ifname : verdict elements = { "tap1" : goto target, "tap2" : drop }',
        ),
    ],
)
def test_sets_are_listed(namespace: NetworkNamespace, kind: str, name: str, expected: str) -> None:
    programmed(namespace)
    lines = listed(namespace, kind, "ip", "calico", name)
    text = " ".join(lines[2:-2])
    # The order of elements is the kernel's.
    assert _sorted_elements(text) == _sorted_elements(expected)


def _sorted_elements(text: str) -> tuple[str, list[str]]:
    head, _, elements = text.partition("elements = {")
    return head.strip(), sorted(one.strip() for one in elements.strip(" }").split(","))


def test_ipv6_sets_are_listed(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    lines = listed(namespace, "set", "ip6", "calico", "networks")
    assert "fd00::/64" in " ".join(lines)
    assert "ff00::/8" in " ".join(lines)
    lines = listed(namespace, "set", "ip6", "calico", "sources")
    assert 'elements = { "tap1" . fd00::1 }' in lines


def test_json_listing_works(namespace: NetworkNamespace) -> None:
    programmed(namespace)
    objects = json.loads(namespace.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    assert sum("rule" in one for one in objects) == len(IPV4_RULES) + len(IPV6_RULES) + 5


def test_listing_can_be_loaded_again(namespace: NetworkNamespace) -> None:
    """What nft lists it accepts: nothing in our encoding is beyond it."""
    programmed(namespace)
    text = namespace.run("nft", "list", "ruleset").stdout
    namespace.run("nft", "flush", "ruleset")
    namespace.run("nft", "-f", "-", stdin=text)

"""From the criteria of one rule to matches."""

from __future__ import annotations

from typing import Any

from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.selector import parse
from calico_openstack.felix.render.matches import RenderedRule, render_matches
from calico_openstack.felix.render.nft import (
    Compare,
    Expression,
    Field,
    InNetwork,
    InRange,
    InSet,
    KeyType,
    Range,
)
from calico_openstack.policy.addresses import network_of, pack_prefix
from calico_openstack.policy.rules import (
    Action,
    EntityCriteria,
    IcmpCriterion,
    NamedPort,
    PolicyRule,
)


def rendered(version: int = 4, *, ranges: bool = False, **criteria: Any) -> RenderedRule | None:
    return render_matches(PolicyRule(Action.ALLOW, **criteria), version, lambda uid: ranges)


def ways(version: int = 4, *, ranges: bool = False, **criteria: Any) -> list[list[Expression]]:
    found = rendered(version, ranges=ranges, **criteria)
    assert found is not None
    return [list(way) for way in found.alternatives]


def nets(*texts: str) -> EntityCriteria:
    return EntityCriteria(nets=tuple(map(pack_prefix, texts)))


TCP = Compare(Field.L4PROTO, b"\x06")


def test_no_criteria_match_everything() -> None:
    assert ways() == [[]]


def test_rules_of_the_other_version_vanish() -> None:
    assert rendered(6, ip_version=4) is None
    assert rendered(6, source=nets("10.0.0.0/8")) is None
    assert rendered(4, source=EntityCriteria(nets=())) is None
    everything = EntityCriteria(not_nets=(pack_prefix("0.0.0.0/0"),))
    assert rendered(4, source=everything) is None
    assert ways(6, source=everything) == [[]]


def test_each_network_is_a_rule() -> None:
    one, two = (pack_prefix(text) for text in ("10.0.0.0/8", "192.0.2.0/24"))
    assert ways(source=EntityCriteria(nets=(one, two))) == [
        [InNetwork(Field.IP_SADDR, network_of(one))],
        [InNetwork(Field.IP_SADDR, network_of(two))],
    ]
    assert ways(source=nets("0.0.0.0/0", "10.0.0.0/8")) == [[]]


def test_excluded_networks_are_one_rule() -> None:
    one, two = (pack_prefix(text) for text in ("10.0.0.0/8", "192.0.2.0/24"))
    assert ways(destination=EntityCriteria(not_nets=(one, two))) == [
        [
            InNetwork(Field.IP_DADDR, network_of(one), invert=True),
            InNetwork(Field.IP_DADDR, network_of(two), invert=True),
        ]
    ]


def test_many_exclusions_move_into_sets() -> None:
    excluded = EntityCriteria(
        not_nets=tuple(pack_prefix(f"10.{n}.0.0/16") for n in range(5)),
        not_ports=(*(PortRange(n, n + 1) for n in range(4, 0, -1)), PortRange(1000, 65535)),
    )
    found = rendered(protocol=6, source=excluded)
    assert found is not None
    ports_set, nets_set = found.sets
    assert found.alternatives == [
        (
            TCP,
            InSet((Field.L4PROTO, Field.TH_SPORT), ports_set.name, invert=True),
            InSet((Field.IP_SADDR,), nets_set.name, invert=True),
        )
    ]
    assert ports_set.elements == (
        Range(b"\x06\0\0\0\0\x01\0\0", b"\x06\0\0\0\0\x05\0\0"),
        Range(b"\x06\0\0\0\x03\xe8\0\0", b"\x06\0\0\0\xff\xff\0\0"),
    )
    assert nets_set.elements == (Range(b"\x0a\0\0\0", b"\x0a\x04\xff\xff"),)
    assert ports_set.kind.interval
    assert nets_set.kind.interval


def test_many_alternatives_move_into_sets() -> None:
    source = nets(*(f"10.{n}.0.0/16" for n in range(0, 40, 2)))
    ports = (*(PortRange(n, n) for n in range(1, 30)), PortRange(1000, 9000))
    found = rendered(protocol=6, source=source, destination=EntityCriteria(ports=ports))
    assert found is not None
    assert len(found.alternatives) == 2
    ports_set, nets_set = found.sets
    assert ports_set.kind.key == (KeyType.PROTOCOL, KeyType.PORT)
    assert ports_set.elements[0] == b"\x06\0\0\0" + b"\0\x01\0\0"
    assert len(ports_set.elements) == 29
    assert nets_set.kind.interval
    assert nets_set.elements[0] == Range(b"\x0a\0\0\0", b"\x0a\0\xff\xff")
    assert len(nets_set.elements) == 20
    assert [
        TCP,
        InSet((Field.IP_SADDR,), nets_set.name),
        InSet((Field.L4PROTO, Field.TH_DPORT), ports_set.name),
    ] == list(found.alternatives[0])
    assert InRange(Field.TH_DPORT, 1000, 9000) in found.alternatives[1]
    assert all(len(own.name) <= 31 for own in found.sets)


def test_a_selector_with_networks_has_two_sets() -> None:
    chosen = EntityCriteria(selector=parse("has(a)"))
    excluded = EntityCriteria(not_selector=parse("has(a)"))
    assert len(ways(source=chosen)) == 1
    assert len(ways(source=chosen, ranges=True)) == 2
    ((one, two),) = ways(source=excluded, ranges=True)
    assert isinstance(one, InSet)
    assert isinstance(two, InSet)
    assert (one.invert, two.invert) == (True, True)
    assert one.set_name != two.set_name


def test_named_ports_look_at_address_protocol_and_port() -> None:
    named = NamedPort(parse("all()"), None, "http")
    fields = (Field.IP6_DADDR, Field.L4PROTO, Field.TH_DPORT)
    (((match,)),) = ways(6, destination=EntityCriteria(named_ports=(named,)))
    assert isinstance(match, InSet)
    assert match.fields == fields
    assert match.set_name.startswith("cali60n-")


def test_icmp_is_read_in_icmp_only() -> None:
    icmp = Compare(Field.L4PROTO, b"\x01")
    kind = Compare(Field.ICMP_TYPE, b"\x08")
    assert ways(protocol=1, icmp=IcmpCriterion(8)) == [[icmp, kind]]
    assert ways(icmp=IcmpCriterion(8)) == [[icmp, kind]]
    assert ways(6, icmp=IcmpCriterion(8)) == [
        [Compare(Field.L4PROTO, b"\x3a"), Compare(Field.ICMPV6_TYPE, b"\x08")]
    ]
    other = Compare(Field.ICMP_TYPE, b"\x08", invert=True)
    assert ways(not_icmp=IcmpCriterion(8)) == [
        [icmp, other],
        [Compare(Field.L4PROTO, b"\x01", invert=True)],
    ]
    assert ways(protocol=1, not_icmp=IcmpCriterion(8, 1)) == [
        [icmp, other],
        [icmp, kind, Compare(Field.ICMP_CODE, b"\x01", invert=True)],
    ]

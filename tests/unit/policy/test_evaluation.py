"""The verdict algorithm (specification section 3.4) and the criteria (3.6), case by case."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.selector import Selector, parse
from calico_openstack.policy.addresses import pack_address, pack_prefix
from calico_openstack.policy.evaluation import Reason, evaluate, matches
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import (
    Action,
    EndpointPolicy,
    EntityCriteria,
    IcmpCriterion,
    NamedPort,
    PolicyRule,
    RuleBlock,
    TierPolicies,
)

A, B = pack_address("10.0.0.1"), pack_address("10.0.0.2")
TCP = Packet(A, B, 6, 1000, 80)
PING = Packet(A, B, 1, icmp_type=8, icmp_code=0)
TCP6 = Packet(pack_address("fd00::1"), pack_address("fd00::2"), 6, 1000, 80)


class Members:
    """Everybody who is called A has address A."""

    def selects(self, selector: Selector, address: bytes) -> bool:
        return selector.matches({"name": "A"}) and address == A

    def selects_port(self, named: NamedPort, address: bytes, protocol: int, port: int) -> bool:
        return (named.name, protocol, port) == ("http", 6, 80) and address == B


def holds(packet: Packet, **criteria: Any) -> bool:
    return matches(PolicyRule(Action.ALLOW, **criteria), packet, Members())


def source(**criteria: Any) -> dict[str, EntityCriteria]:
    return {"source": EntityCriteria(**criteria)}


def destination(**criteria: Any) -> dict[str, EntityCriteria]:
    return {"destination": EntityCriteria(**criteria)}


NETS = (pack_prefix("10.0.0.0/31"), pack_prefix("192.0.2.0/24"))
HTTP = NamedPort(parse("all()"), 6, "http")


@pytest.mark.parametrize(
    ("packet", "criteria", "expected"),
    [
        (TCP, {}, True),
        (TCP, {"ip_version": 4}, True),
        (TCP, {"ip_version": 6}, False),
        (TCP6, {"ip_version": 6}, True),
        (TCP, {"protocol": 6}, True),
        (TCP, {"protocol": 17}, False),
        (TCP, {"not_protocol": 6}, False),
        (TCP, {"not_protocol": 17}, True),
        (PING, {"protocol": 1, "icmp": IcmpCriterion(8)}, True),
        (PING, {"protocol": 1, "icmp": IcmpCriterion(8, 1)}, False),
        (PING, {"protocol": 1, "not_icmp": IcmpCriterion(8)}, False),
        # The negation of type and code together: one of them suffices.
        (PING, {"protocol": 1, "not_icmp": IcmpCriterion(8, 1)}, True),
        (TCP, {"icmp": IcmpCriterion(8)}, False),
        (TCP, {"not_icmp": IcmpCriterion(8)}, True),
        (TCP, source(nets=NETS), True),
        (TCP, destination(nets=NETS), False),
        (TCP, source(nets=()), False),
        (TCP, source(not_nets=NETS), False),
        (TCP, destination(not_nets=NETS), True),
        (TCP6, source(nets=NETS), False),
        (TCP6, source(not_nets=NETS), True),
        (TCP, source(selector=parse("name == 'A'")), True),
        (TCP, destination(selector=parse("name == 'A'")), False),
        (TCP, source(not_selector=parse("name == 'A'")), False),
        (TCP, destination(not_selector=parse("name == 'A'")), True),
        (TCP, destination(ports=(PortRange(80, 80),)), True),
        (TCP, destination(ports=(PortRange(81, 90), PortRange(22, 80))), True),
        (TCP, destination(ports=(PortRange(81, 90),)), False),
        (TCP, source(ports=(PortRange(80, 80),)), False),
        (TCP, destination(not_ports=(PortRange(80, 80),)), False),
        (PING, destination(ports=(PortRange(0, 65535),)), False),
        (TCP, destination(named_ports=(HTTP,)), True),
        (TCP, source(named_ports=(HTTP,)), False),
        (TCP, destination(named_ports=(HTTP,), ports=(PortRange(22, 22),)), True),
        (TCP, destination(not_named_ports=(HTTP,)), False),
        (PING, destination(not_named_ports=(HTTP,)), True),
    ],
)
def test_criteria(packet: Packet, criteria: dict[str, Any], expected: bool) -> None:
    assert holds(packet, **criteria) is expected


def key(name: str) -> ResourceKey:
    return ResourceKey("GlobalNetworkPolicy", name)


def tier(name: str, *policies: str, default: Action = Action.DENY) -> TierPolicies:
    return TierPolicies(name, default, ingress=tuple(map(key, policies)))


ALLOW, DENY, PASS, LOG = (PolicyRule(action) for action in Action)
NO_MATCH = PolicyRule(Action.ALLOW, protocol=17)


def judged(
    tiers: tuple[TierPolicies, ...], blocks: dict[str, tuple[PolicyRule, ...]], *profiles: str
) -> tuple[bool, list[tuple[str, str | None, Action | None]]]:
    verdict = evaluate(
        EndpointPolicy(tiers, tuple(map(key, profiles))),
        {key(name): RuleBlock(key(name), ingress=rules) for name, rules in blocks.items()},
        Direction.INGRESS,
        TCP,
        Members(),
    )
    return verdict.allowed, [
        (reason.tier, reason.block.name if reason.block else None, reason.action)
        for reason in verdict.reasons
    ]


def test_nothing_at_all_denies() -> None:
    assert judged((), {}) == (False, [("", None, Action.DENY)])


def test_first_match_decides() -> None:
    blocks = {"p": (NO_MATCH, LOG, ALLOW, DENY)}
    assert judged((tier("t", "p"),), blocks) == (
        True,
        [("t", "p", Action.LOG), ("t", "p", Action.ALLOW)],
    )


def test_end_of_tier_denies() -> None:
    assert judged((tier("t", "p"), tier("u", "q")), {"p": (NO_MATCH,), "q": (ALLOW,)}) == (
        False,
        [("t", "p", None), ("t", None, Action.DENY)],
    )


def test_pass_leaves_the_tier() -> None:
    blocks = {"p": (PASS, DENY), "denied": (DENY,), "q": (ALLOW,)}
    assert judged((tier("t", "p", "denied"), tier("u", "q")), blocks)[0]


def test_default_pass_goes_on() -> None:
    blocks = {"p": (NO_MATCH,), "q": (ALLOW,)}
    assert judged((tier("t", "p", default=Action.PASS), tier("u", "q")), blocks) == (
        True,
        [("t", "p", None), ("t", None, Action.PASS), ("u", "q", Action.ALLOW)],
    )


def test_tier_without_policies_in_this_direction_is_skipped() -> None:
    egress_only = TierPolicies("t", Action.DENY, egress=(key("p"),))
    assert judged((egress_only, tier("u", "q")), {"q": (ALLOW,)})[0]
    assert judged((egress_only,), {"profile": (ALLOW,)}, "profile")[0]


def test_profiles_follow_tiers_that_pass() -> None:
    blocks = {"p": (PASS,), "one": (PASS, DENY), "two": (ALLOW,)}
    # Pass in a profile goes on with the next one.
    assert judged((tier("t", "p"),), blocks, "one", "two")[0]
    assert not judged((tier("t", "p"),), {**blocks, "two": (NO_MATCH,)}, "one", "two")[0]


def test_reasons_name_the_rule() -> None:
    rules = (PolicyRule(Action.ALLOW, protocol=17, index=0), PolicyRule(Action.DENY, index=1))
    verdict = evaluate(
        EndpointPolicy((tier("t", "p"),)),
        {key("p"): RuleBlock(key("p"), ingress=rules)},
        Direction.INGRESS,
        TCP,
        Members(),
    )
    assert verdict.reasons == (Reason("t", key("p"), 1, Action.DENY),)

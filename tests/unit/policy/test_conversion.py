"""Conversion of stored policies (specification section 1.5)."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    NetworkPolicy,
    NetworkPolicySpec,
    Profile,
    StagedNetworkPolicy,
    StagedNetworkPolicySpec,
)
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.rules import (
    EntityRule,
    IcmpMatch,
    Rule,
    RuleMetadata,
    ServiceAccountMatch,
)
from calico_openstack.datamodel.selector import SelectorError, parse
from calico_openstack.policy import conversion
from calico_openstack.policy.ordering import Part
from calico_openstack.policy.rules import Action, EntityCriteria, IcmpCriterion, PolicyRule

NP = ResourceKey("NetworkPolicy", "p", "ns")
GNP = ResourceKey("GlobalNetworkPolicy", "p")


def endpoints_of_np(**spec: Any) -> str:
    policy = NetworkPolicy(spec=NetworkPolicySpec(**spec))
    return conversion.endpoint_selector(NP, policy).canonical


def endpoints_of_gnp(**spec: Any) -> str:
    policy = GlobalNetworkPolicy(spec=GlobalNetworkPolicySpec(**spec))
    return conversion.endpoint_selector(GNP, policy).canonical


def canonical(text: str) -> str:
    return parse(text).canonical


NS = "projectcalico.org/namespace == 'ns'"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, NS),
        ({"selector": "a == 'b'"}, f"(a == 'b') && {NS}"),
        ({"selector": " \t"}, f"(all()) && {NS}"),
        ({"selector": "a || b".replace("a", "has(a)").replace("b", "has(b)")}, None),
        ({"service_account_selector": "x == 'y'"}, f"({NS}) && pcsa.x == 'y'"),
        (
            {"service_account_selector": "all()"},
            f"({NS}) && has(projectcalico.org/serviceaccount)",
        ),
    ],
)
def test_endpoints_of_a_network_policy(spec: dict[str, str], text: str | None) -> None:
    wanted = text or f"(has(a) || has(b)) && {NS}"
    assert endpoints_of_np(**spec) == canonical(wanted)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, "all()"),
        ({"selector": "a == 'b'"}, "a == 'b'"),
        ({"selector": " "}, "all()"),
        ({"namespace_selector": "x == 'y'"}, "pcns.x == 'y'"),
        ({"namespace_selector": " "}, "has(projectcalico.org/namespace)"),
        ({"namespace_selector": "all()"}, "has(projectcalico.org/namespace)"),
        (
            {"selector": "a == 'b'", "namespace_selector": "!has(x) || y in {'z'}"},
            "(a == 'b') && (!has(pcns.x) || pcns.y in {'z'})",
        ),
        # The replacement is textual, in the whole expression.
        (
            {"selector": "all()", "namespace_selector": "x == 'y'"},
            "(has(projectcalico.org/namespace)) && pcns.x == 'y'",
        ),
    ],
)
def test_endpoints_of_a_global_policy(spec: dict[str, str], text: str) -> None:
    assert endpoints_of_gnp(**spec) == canonical(text)


def test_a_namespace_is_no_part_of_the_expression() -> None:
    key = ResourceKey("NetworkPolicy", "p", "x' || has(a) || b == 'y")
    with pytest.raises(SelectorError):
        conversion.endpoint_selector(key, NetworkPolicy())


def entity(rule: EntityRule, namespace: str = "", **more: Any) -> EntityCriteria:
    (converted,) = conversion.rules((Rule(action="Allow", source=rule, **more),), namespace)
    return converted.source


def selectors(found: EntityCriteria) -> tuple[str | None, str | None]:
    return (
        found.selector.canonical if found.selector else None,
        found.not_selector.canonical if found.not_selector else None,
    )


@pytest.mark.parametrize(
    ("stored", "namespace", "positive", "negative"),
    [
        ({"nets": ("10.0.0.0/8",)}, "ns", None, None),
        ({"selector": "a == 'b'"}, "", "a == 'b'", None),
        ({"selector": "a == 'b'"}, "ns", f"({NS}) && (a == 'b')", None),
        ({"selector": " "}, "ns", f"({NS}) && (all())", None),
        ({"selector": "\t", "not_selector": " "}, "", "(all()) && (!(all()))", None),
        ({"not_selector": " "}, "", None, "all()"),
        ({"not_selector": "a == 'b'"}, "", None, "a == 'b'"),
        ({"not_selector": "a == 'b'"}, "ns", f"({NS}) && (!(a == 'b'))", None),
        ({"selector": "has(a)", "not_selector": "has(b)"}, "", "(has(a)) && (!(has(b)))", None),
        ({"namespace_selector": "all()"}, "ns", "has(projectcalico.org/namespace)", None),
        ({"namespace_selector": "global()"}, "ns", "!has(projectcalico.org/namespace)", None),
        (
            {"namespace_selector": "x == 'y'", "selector": "has(a)"},
            "ns",
            "(pcns.x == 'y') && (has(a))",
            None,
        ),
        (
            {"service_accounts": ServiceAccountMatch(names=("one", "two"))},
            "",
            "projectcalico.org/serviceaccount in {'one', 'two'}",
            None,
        ),
        (
            {"service_accounts": ServiceAccountMatch(selector="x == 'y'")},
            "ns",
            f"({NS}) && (pcsa.x == 'y')",
            None,
        ),
    ],
)
def test_entity_selectors(
    stored: dict[str, Any], namespace: str, positive: str | None, negative: str | None
) -> None:
    wanted = tuple(text and canonical(text) for text in (positive, negative))
    assert selectors(entity(EntityRule(**stored), namespace)) == wanted


def test_ports_by_number_and_by_name() -> None:
    found = entity(
        EntityRule(selector="has(a)", ports=(80, "1000:2000", "http"), not_ports=(22, "ssh")),
        protocol="TCP",
    )
    assert found.ports == (PortRange(80, 80), PortRange(1000, 2000))
    assert found.not_ports == (PortRange(22, 22),)
    assert selectors(found) == (canonical("has(a)"), None)
    assert [(p.name, p.protocol, p.selector.canonical) for p in found.named_ports] == [
        ("http", 6, "has(a)")
    ]
    assert [p.name for p in found.not_named_ports] == ["ssh"]


def test_names_alone_take_the_selector_in() -> None:
    found = entity(EntityRule(selector="has(a)", ports=("http",)))
    assert found.selector is None
    (named,) = found.named_ports
    assert (named.protocol, named.selector.canonical) == (None, "has(a)")
    assert named.uid.startswith("n:")
    assert entity(EntityRule(ports=("http",))).named_ports[0].selector.canonical == "all()"


def test_many_names_of_ports_are_one_set() -> None:
    few, many = tuple("dcba"), tuple("edcbaa")
    assert [each.name for each in entity(EntityRule(not_ports=few)).not_named_ports] == [*few]
    found = entity(EntityRule(ports=many, not_ports=many))
    assert found.named_ports == found.not_named_ports
    assert [each.names for each in found.named_ports] == [tuple("abcde")]


def test_rule_fields() -> None:
    stored = Rule(
        action="Deny",
        protocol="ICMP",
        icmp=IcmpMatch(type=8),
        not_icmp=IcmpMatch(type=3, code=1),
        metadata=RuleMetadata(annotations={"id": "abc"}),
    )
    (found,) = conversion.rules((stored,), "")
    assert found == PolicyRule(
        Action.DENY,
        ip_version=4,
        protocol=1,
        icmp=IcmpCriterion(8),
        not_icmp=IcmpCriterion(3, 1),
        note="id=abc",
    )


def test_types_decide_the_directions() -> None:
    rules = (Rule(action="Allow"),)

    def sides(*types: str) -> tuple[int, int]:
        spec = NetworkPolicySpec(types=types, ingress=rules, egress=rules)
        block = conversion.policy_block(NP, NetworkPolicy(spec=spec))
        return len(block.ingress), len(block.egress)

    assert sides() == (1, 1)
    assert sides("Ingress") == (1, 0)
    assert sides("Egress") == (0, 1)
    assert sides("Ingress", "Egress") == (1, 1)


def test_what_is_missing_or_invalid_denies() -> None:
    key = ResourceKey(Profile.KIND, "p")
    for block in (conversion.profile_block(key, None), conversion.denial(NP)):
        assert [rule.action for rule in block.ingress] == [Action.DENY]
        assert [rule.action for rule in block.egress] == [Action.DENY]
    invalid = NetworkPolicy(spec=NetworkPolicySpec(types=("Ingress",)))
    assert conversion.denial(NP, invalid).egress == ()
    misspelt = NetworkPolicy(spec=NetworkPolicySpec(types=("Ingress", "egress")))
    assert [rule.action for rule in conversion.denial(NP, misspelt).egress] == [Action.DENY]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ({}, {Part.NORMAL}),
        ({"apply_on_forward": True}, {Part.NORMAL, Part.FORWARD}),
        ({"do_not_track": True, "apply_on_forward": True}, {Part.UNTRACKED}),
        ({"pre_dnat": True, "apply_on_forward": True}, {Part.PRE_DNAT}),
    ],
)
def test_lists_in_which_policies_stand(spec: dict[str, bool], parts: set[Part]) -> None:
    policy = GlobalNetworkPolicy(spec=GlobalNetworkPolicySpec(**spec))  # type: ignore[arg-type]
    place = conversion.placement(ResourceKey("GlobalNetworkPolicy", "p"), policy)
    assert {part for part in Part if place.belongs_to(part)} == parts


@pytest.mark.parametrize(
    ("action", "counts"),
    [("", True), ("Set", True), ("Learn", True), ("Delete", False), ("Ignore", False)],
)
def test_staged_policies_that_have_rules_to_try_out(action: str, counts: bool) -> None:
    spec = StagedNetworkPolicySpec(staged_action=action)
    assert conversion.counts(StagedNetworkPolicy(spec=spec)) == counts

"""Security groups become network policies, and no rule ever becomes wider."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.codec import decode, encode
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.rules import Rule
from calico_openstack.neutron.translate.facts import GroupFacts, RuleFacts
from calico_openstack.neutron.translate.policy import translate_group

GROUP = "75fccd0a-ef3d-44cd-91ec-ef22941f50f5"
OTHER = "903d9936-1111-2222-3333-444455556666"
ADDRESSES = "0a0b0c0d-1111-2222-3333-444455556666"


def rule(**fields: Any) -> RuleFacts:
    return RuleFacts(**{"id": "r1", "direction": "ingress", "ethertype": "IPv4"} | fields)


def group(*rules: RuleFacts, **fields: Any) -> GroupFacts:
    return GroupFacts(id=GROUP, name="web", rules=rules, **fields)


def only_rule(facts: RuleFacts, **fields: Any) -> Rule:
    translated = translate_group(group(facts, **fields), "openstack")
    assert translated.problems == ()
    (result,) = translated.policy.spec.ingress + translated.policy.spec.egress
    return result


def refused_field(facts: RuleFacts, **fields: Any) -> str:
    """Return the field because of which a rule is left out."""
    translated = translate_group(group(facts, **fields), "openstack")
    assert translated.policy.spec.ingress + translated.policy.spec.egress == ()
    (problem,) = translated.problems
    assert problem.subject == f"rule {facts.id}"
    return problem.field


def test_a_policy_as_upstream_writes_it() -> None:
    facts = group(
        rule(id="a", protocol="tcp", port_min=22, port_max=22, remote_prefix="192.168.8.1/32"),
        rule(id="b", protocol="udp", port_min=5000, port_max=5100, remote_group_id=OTHER),
        rule(id="c", ethertype="IPv6", protocol="ipv6-icmp", port_min=128),
        rule(id="d", direction="egress"),
        rule(id="e", direction="egress", ethertype="IPv6"),
    )
    policy = translate_group(facts, "openstack").policy
    assert json.loads(encode(policy)) == {
        "kind": "NetworkPolicy",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": f"ossg.default.{GROUP}", "namespace": "openstack"},
        "spec": {
            "ingress": [
                {
                    "action": "Allow",
                    "ipVersion": 4,
                    "protocol": 6,
                    "destination": {"ports": [22]},
                    "source": {"nets": ["192.168.8.1/32"]},
                },
                {
                    "action": "Allow",
                    "ipVersion": 4,
                    "protocol": 17,
                    "destination": {"ports": ["5000:5100"]},
                    "source": {"selector": f"has(sg.projectcalico.org/openstack-{OTHER})"},
                },
                {"action": "Allow", "ipVersion": 6, "protocol": "ICMPv6", "icmp": {"type": 128}},
            ],
            "egress": [{"action": "Allow", "ipVersion": 4}, {"action": "Allow", "ipVersion": 6}],
            "selector": f"has(sg.projectcalico.org/openstack-{GROUP})",
        },
    }


def test_an_empty_group_has_a_policy_that_allows_nothing() -> None:
    spec = json.loads(encode(translate_group(group(), "openstack").policy))["spec"]
    assert spec["ingress"] == spec["egress"] == []


def test_an_egress_rule_is_about_the_destination() -> None:
    facts = rule(
        direction="egress", protocol="tcp", port_min=1, port_max=9, remote_prefix="10.0.0.0/8"
    )
    translated = only_rule(facts)
    assert translated.destination.nets == ("10.0.0.0/8",)
    assert translated.destination.ports == ("1:9",)
    assert not translated.source.nets


def test_bits_beyond_a_prefix_are_cleared() -> None:
    assert only_rule(rule(remote_prefix="10.1.2.3/8")).source.nets == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("name", "ethertype", "protocol"),
    [
        (None, "IPv4", None),
        ("any", "IPv4", None),
        ("-1", "IPv4", None),
        ("tcp", "IPv4", 6),
        ("TCP", "IPv4", 6),
        ("6", "IPv4", 6),
        ("50", "IPv4", 50),
        ("vrrp", "IPv4", 112),
        ("ipv6-frag", "IPv6", 44),
        ("icmp", "IPv4", "ICMP"),
        ("1", "IPv4", "ICMP"),
        ("icmp", "IPv6", "ICMPv6"),
        ("1", "IPv6", "ICMPv6"),
        ("58", "IPv6", "ICMPv6"),
        ("icmpv6", "IPv6", "ICMPv6"),
        ("ipv6-icmp", "IPv6", "ICMPv6"),
        ("dccp", "IPv4", 33),
        ("udplite", "IPv4", 136),
    ],
)
def test_protocols(name: str | None, ethertype: str, protocol: int | str | None) -> None:
    assert only_rule(rule(protocol=name, ethertype=ethertype)).protocol == protocol


@pytest.mark.parametrize("name", ["1", "icmp"])
def test_icmp_by_number_has_type_and_code_like_icmp_by_name(name: str) -> None:
    translated = only_rule(rule(protocol=name, port_min=8, port_max=0))
    assert translated.icmp is not None
    assert (translated.icmp.type, translated.icmp.code) == (8, 0)
    assert not translated.destination.ports


def test_icmp_with_any_type() -> None:
    assert only_rule(rule(protocol="icmp", port_min=-1, port_max=-1)).icmp is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"protocol": "dccp", "port_min": 5, "port_max": 6}, "port_range_min"),
        ({"protocol": "136", "port_min": 5, "port_max": 6}, "port_range_min"),
        ({"port_min": 5, "port_max": 6}, "port_range_min"),
        ({"protocol": "tcp", "port_min": 0, "port_max": 6}, "port_range_min"),
        ({"protocol": "tcp", "port_min": 7, "port_max": 6}, "port_range_min"),
        ({"protocol": "tcp", "port_max": 6}, "port_range_min"),
        ({"protocol": "tcp", "port_min": 1, "port_max": 65536}, "port_range_min"),
        ({"protocol": "icmp", "port_min": 255}, "port_range_min"),
        ({"protocol": "icmp", "port_max": 0}, "port_range_max"),
        ({"protocol": "icmp", "port_min": 8, "port_max": 256}, "port_range_max"),
        ({"protocol": "hopopt"}, "protocol"),
        ({"protocol": "0"}, "protocol"),
        ({"protocol": "256"}, "protocol"),
        ({"protocol": "nonsense"}, "protocol"),
        ({"protocol": "ipv6-icmp"}, "protocol"),
        ({"ethertype": "ARP"}, "ethertype"),
        ({"remote_prefix": "fd00::/8"}, "remote_ip_prefix"),
        ({"remote_prefix": "10.0.0.0/33"}, "remote_ip_prefix"),
        ({"address_group_id": ADDRESSES}, "remote_address_group_id"),
    ],
)
def test_what_cannot_be_honoured_is_left_out_and_reported(
    fields: dict[str, Any], field: str
) -> None:
    assert refused_field(rule(**fields)) == field


def test_a_bad_rule_leaves_the_others() -> None:
    facts = group(rule(id="a", protocol="tcp"), rule(id="b", protocol="hopopt"), rule(id="c"))
    translated = translate_group(facts, "openstack")
    assert len(translated.policy.spec.ingress) == 2
    assert [problem.subject for problem in translated.problems] == ["rule b"]


def test_an_address_group_is_its_addresses_of_the_rule_s_family() -> None:
    members = {ADDRESSES: ("10.2.0.0/16", "fd00::/64", "10.1.0.1/32")}
    assert only_rule(rule(address_group_id=ADDRESSES), address_groups=members).source.nets == (
        "10.1.0.1/32",
        "10.2.0.0/16",
    )


@pytest.mark.parametrize("members", [(), ("fd00::/64",)])
def test_an_address_group_without_such_addresses_allows_nobody(members: tuple[str, ...]) -> None:
    facts = group(rule(address_group_id=ADDRESSES), address_groups={ADDRESSES: members})
    translated = translate_group(facts, "openstack")
    assert translated.policy.spec.ingress == ()
    assert translated.problems == ()


def test_a_stateless_group_is_reported() -> None:
    (problem,) = translate_group(group(stateful=False), "openstack").problems
    assert problem.field == "stateful"


numbers = st.none() | st.integers(-2, 70000) | st.integers(0, 300)
rules = st.builds(
    RuleFacts,
    id=st.uuids().map(str),
    direction=st.sampled_from(["ingress", "egress"]),
    ethertype=st.sampled_from(["IPv4", "IPv6"]),
    protocol=st.none()
    | st.sampled_from(["tcp", "udp", "sctp", "icmp", "icmpv6", "dccp", "any", "ip", "gre"])
    | st.integers(-2, 300).map(str)
    | st.text(max_size=5),
    port_min=numbers,
    port_max=numbers,
    remote_group_id=st.none() | st.uuids().map(str),
    remote_prefix=st.none()
    | st.ip_addresses().map(str)
    | st.ip_addresses().map(lambda ip: f"{ip}/20")
    | st.text(max_size=5),
    address_group_id=st.none() | st.sampled_from([ADDRESSES, "unknown"]),
)
groups = st.builds(
    GroupFacts,
    id=st.just(GROUP),
    rules=st.lists(rules, max_size=4).map(tuple),
    address_groups=st.fixed_dictionaries(
        {ADDRESSES: st.lists(st.ip_addresses().map(lambda ip: f"{ip}/32"), max_size=3).map(tuple)}
    ),
)


@given(groups)
def test_what_is_written_is_always_valid(facts: GroupFacts) -> None:
    """A reader refuses a policy as a whole, so that no rule may hold anything it refuses."""
    policy = translate_group(facts, "openstack").policy
    path = ResourceKey("NetworkPolicy", policy.metadata.name, "openstack").path
    decoded = decode(path, encode(policy))
    assert type(decoded) is type(policy), str(decoded)


@given(rules)
def test_a_rule_keeps_every_restriction_or_is_left_out(facts: RuleFacts) -> None:
    """No rule of the policy is wider than the rule of the group that it came from."""
    addresses = {ADDRESSES: ("10.0.0.1/32",)}
    policy = translate_group(group(facts, address_groups=addresses), "openstack").policy
    for translated in policy.spec.ingress + policy.spec.egress:
        remote = translated.source if facts.direction == "ingress" else translated.destination
        assert translated.ip_version == {"IPv4": 4, "IPv6": 6}[facts.ethertype]
        if facts.remote_prefix is not None or facts.address_group_id is not None:
            assert remote.nets
        if facts.remote_group_id is not None:
            assert facts.remote_group_id in remote.selector
        if facts.protocol not in (None, "any", "-1", ""):
            assert translated.protocol is not None
        if facts.port_min not in (None, -1):
            assert translated.icmp is not None or translated.destination.ports

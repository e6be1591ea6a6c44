"""What a change would do to whom."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.calicoctl.plan.alike import outside
from calico_openstack.calicoctl.plan.comparison import differences, lines
from calico_openstack.calicoctl.plan.flows import FlowJudge, questions
from calico_openstack.calicoctl.plan.probes import Kind, joined, kinds
from calico_openstack.calicoctl.plan.proposals import (
    ProposalError,
    applied,
    removed,
    with_group_rule,
)
from calico_openstack.calicoctl.plan.world import World
from calico_openstack.datamodel import (
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    Metadata,
    Resource,
    ResourceKey,
    Rule,
)
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.policy.addresses import pack_address, pack_prefix
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Action, EntityCriteria, PolicyRule
from tests.support.clusters import ClusterGenerator
from tests.support.resources import allow, group_policy, workload

GROUP = "sg.projectcalico.org/openstack-"


def cloud() -> dict[ResourceKey, Any]:
    """Two web servers and a database; their groups let web reach the database's port 3306."""
    found: dict[ResourceKey, Resource] = {}
    for number, group in ((1, "web"), (2, "web"), (3, "db")):
        key, value = workload(number, ip_networks=(f"10.0.0.{number}/32",))
        labels = {**value.metadata.labels, f"{GROUP}{group}": f"{group}-servers"}
        metadata = Metadata(name=key.name, namespace=key.namespace, labels=labels)
        found[key] = type(value)(metadata=metadata, spec=value.spec)
    for group, rules in (("web", (allow("TCP", 80),)), ("db", ())):
        key, policy = group_policy(group, *rules, selector=f"has({GROUP}{group})")
        found[key] = policy
    return found


def told(before: Any, after: Any) -> list[str]:
    return list(lines(list(differences(before, after))))


def ruled(*words: str) -> list[str]:
    return told(cloud(), with_group_rule(cloud(), words))


def test_nothing_changed_is_nothing_told() -> None:
    assert told(cloud(), cloud()) == ["Nothing changes for any existing workload."]


def test_a_new_rule_is_told_by_groups_and_ports() -> None:
    words = "openstack security group rule create --ingress --ethertype IPv4 --protocol tcp"
    found = ruled(*words.split(), "--dst-port", "3306", "--remote-group", "web-servers", "db")
    assert found == [
        "Gained:",
        "  + 2 ports of security group web-servers -> port port3 (10.0.0.3) of security group "
        "db-servers: IPv4 TCP port 3306",
    ]


def test_a_rule_for_everybody_lets_the_outside_in_too() -> None:
    found = ruled("security", "group", "rule", "create", "--protocol", "tcp", "db-servers")
    assert any(line.strip().startswith("+ outside ->") for line in found)
    assert all("TCP all ports" in line for line in found[1:])


def test_a_deleted_rule_is_a_loss() -> None:
    found = ruled("security-group", "rule", "delete", "--ingress", "--index=0", "web-servers")
    assert found[0] == "Lost:"
    assert any("port3" in line and "TCP port 80" in line for line in found)


def test_a_rule_is_deleted_by_the_words_by_which_it_is_created() -> None:
    words = [
        "--ingress",
        "--protocol",
        "tcp",
        "--dst-port",
        "3306",
        "--remote-group",
        "web-servers",
        "db",
    ]
    created = with_group_rule(cloud(), ["security", "group", "rule", "create", *words])
    deleted = with_group_rule(created, ["security", "group", "rule", "delete", *words])
    assert told(cloud(), deleted) == told(cloud(), cloud())


def test_a_policy_from_a_file_cuts_both_ends() -> None:
    spec = GlobalNetworkPolicySpec(
        order=1,
        types=("Egress",),
        egress=(Rule(action="Deny", protocol="TCP"), Rule(action="Pass")),
    )
    policy = GlobalNetworkPolicy(metadata=Metadata(name="no-tcp"), spec=spec)
    after = applied(cloud(), [policy])
    found = told(cloud(), after)
    assert found[0] == "Lost:"
    assert told(after, removed(after, [policy]))[0] == "Gained:"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("security group create x", "in the words of openstack"),
        ("security group rule create", "in the words of openstack"),
        ("security group rule create --prot tcp db", "--prot is not known"),
        ("security group rule create --protocol tpc db", "'tpc' is not known"),
        ("security group rule create --protocol tcp --dst-port 99999 db", "--dst-port"),
        ("security group rule create --remote-ip 10.0.0.256 db", "--remote-ip"),
        ("security group rule create --protocol tcp nobody", "'nobody' is no group"),
        ("security group rule delete --ingress --index 7 web", "number up to 0"),
        ("security group rule delete --ingress web", "--index 0  Allow TCP to port 80"),
        ("security group rule delete --protocol udp web", "--index 0  Allow TCP to port 80"),
        ("security group rule create --dst-port", "needs a value"),
    ],
)
def test_what_is_not_understood_says_why(words: str, reason: str) -> None:
    with pytest.raises(ProposalError, match=reason):
        with_group_rule(cloud(), words.split())


def _rule(low: int, high: int) -> PolicyRule:
    entity = EntityCriteria(ports=(PortRange(low, high),))
    return PolicyRule(Action.ALLOW, protocol=6, destination=entity)


@given(
    st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=5),
    st.integers(0, 65535),
)
def test_spans_cover_all_ports_once_and_rules_do_not_cut_them(
    ranges: list[tuple[int, int]], port: int
) -> None:
    rules = [_rule(min(pair), max(pair)) for pair in ranges]
    spans = [kind for kind in kinds(rules, 4) if kind.protocol == 6]
    (span,) = [kind for kind in spans if kind.first <= port <= kind.last]
    for rule in rules:
        (low, high) = rule.destination.ports[0]
        assert (low <= port <= high) == (low <= span.first <= high)
    assert joined(spans) == [Kind(6, 0, 65535)]


def test_an_address_outside_is_in_its_network_and_in_no_narrower_one() -> None:
    networks = [pack_prefix("10.0.0.0/8"), pack_prefix("10.0.0.0/9")]
    found = {ends.title: ends.addresses.get(4) for ends in outside({}, networks)}
    assert found["outside in 10.0.0.0/8"] == pack_address("10.128.0.0")
    assert found["outside in 10.0.0.0/9"] == pack_address("10.0.0.0")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_the_world_decides_as_the_cluster_does(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.workloads()
    cluster, world = Cluster(resources, source_spoofing=True), World(resources)
    for _ in range(5):
        packet = generator.packet()
        for each in cluster.judge(packet, lambda key, direction: True).verdicts:
            assert world.allows(each.endpoint, each.direction, packet) is each.verdict.allowed
    assert world.allows(None, Direction.EGRESS, generator.packet())


# --- established flows ----------------------------------------------------------------------------


def flow(source: str, destination: str, port: int, protocol: int = 6) -> dict[str, str]:
    return {
        "protocol": str(protocol),
        "source": source,
        "destination": destination,
        "source port": "40000",
        "destination port": str(port),
        "icmp type": "",
        "icmp code": "",
        "sent to": destination,
    }


FLOWS = (
    flow("10.0.0.3", "10.0.0.1", 80),
    flow("198.51.100.9", "10.0.0.2", 80),
    # Not allowed before either: it ends by itself.
    flow("10.0.0.3", "10.0.0.1", 22),
    # Of nobody's concern.
    flow("10.0.0.1", "198.51.100.9", 443),
    flow("fd00::1", "fd00::2", 80),
)


def worlds(rule: str) -> tuple[World, World]:
    words = f"security group rule {rule}".split()
    return World(cloud()), World(with_group_rule(cloud(), words))


def test_flows_that_would_end_are_told_with_their_owners() -> None:
    judge = FlowJudge(*worlds("delete --ingress --index 0 web"))
    assert [str(each) for each in judge.cut(FLOWS)] == [
        "TCP port port3 (10.0.0.3 port 40000) -> port port1 (10.0.0.1 port 80)",
        "TCP outside (198.51.100.9 port 40000) -> port port2 (10.0.0.2 port 80)",
    ]
    assert list(judge.cut(FLOWS)) == [], "the host of the other end tells of them too"


def test_hosts_are_asked_about_the_ports_that_change_only() -> None:
    old, new = worlds("delete --ingress --index 0 web")
    ((host, addresses),) = questions(old, new)
    assert host == old.cluster.endpoints[workload(1)[0]].spec.node
    assert sorted(addresses.split(",")) == ["10.0.0.1", "10.0.0.2"]
    assert list(questions(old, old)) == []


def test_a_change_that_takes_nothing_away_ends_no_flow() -> None:
    made = worlds("create --ingress --protocol tcp --dst-port 22 web")
    assert list(FlowJudge(*made).cut(FLOWS)) == []

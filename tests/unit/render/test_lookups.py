"""Policies that only allow: few look-ups that mean what the list of rules means."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from calico_openstack.datamodel.rules import EntityRule, Rule
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from calico_openstack.felix.render.nft import InSet, TableState
from calico_openstack.felix.render.renderer import IP_TABLE
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction, Packet
from tests.support.clusters import NETS_4, NETS_6, ClusterGenerator
from tests.support.hooks import through
from tests.support.nft_model import check
from tests.support.resources import allow, group_policy, workload

TCP, UDP = 6, 17
CHAIN = "in-np/openstack/ossg.default.many"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


class Felix:
    """One workload, 10.0.0.1 and fd00::1, of a group with these rules."""

    def __init__(self, *rules: Rule) -> None:
        self.calculation = HostCalculation("here")
        self.renderer = Renderer(RenderSettings(), self.calculation.state)
        self.calculation.update(*workload(1, "many"))
        self.put(*rules)

    def put(self, *rules: Rule) -> tuple[set[str], dict[str, int]]:
        """Return the chains that changed in the IPv4 table, and how many elements of each set."""
        key, policy = group_policy("many", *rules)
        self.calculation.update(key, policy)
        delta = self.renderer.apply(self.calculation.flush()).tables.get(IP_TABLE)
        if delta is None:
            return set(), {}
        return delta.chains, {name: len(some) for name, some in delta.elements.items()}

    @property
    def table(self) -> TableState:
        return self.renderer.desired.ruleset[IP_TABLE]

    @property
    def rules(self) -> int:
        return len(self.table.chains[CHAIN].rules)

    def passes(self, source: str, protocol: int, port: int) -> bool:
        destination = "10.0.0.1" if "." in source else "fd00::1"
        packet = Packet(pack_address(source), pack_address(destination), protocol, 999, port)
        return through(self.renderer.desired, packet, "eth0", "tap1")[0]


def test_ports_become_one_look_up_a_protocol() -> None:
    felix = Felix(
        *(allow("TCP", 1000 + n) for n in range(500)),
        *(allow("UDP", 1000 + 2 * n) for n in range(500)),
    )
    assert felix.rules == 2
    assert felix.passes("192.0.2.1", TCP, 1499)
    assert not felix.passes("192.0.2.1", TCP, 1500)
    assert felix.passes("192.0.2.1", UDP, 1998)
    assert not felix.passes("192.0.2.1", UDP, 1999)


def test_networks_become_one_look_up() -> None:
    felix = Felix(*(allow("TCP", 80, nets=(f"172.16.{n}.0/24",)) for n in range(200)))
    assert felix.rules == 1
    assert felix.passes("172.16.199.7", TCP, 80)
    assert not felix.passes("172.16.200.7", TCP, 80)
    assert not felix.passes("172.16.199.7", TCP, 81)


def test_networks_with_ports_of_their_own_become_one_look_up_for_each_length() -> None:
    rules = [allow("TCP", 1000 + n, nets=(f"172.16.{n}.0/24",)) for n in range(200)]
    rules += [allow("TCP", 2000 + n, nets=(f"192.0.2.{n}/32",)) for n in range(200)]
    felix = Felix(*rules)
    assert felix.rules == 2
    assert felix.passes("172.16.100.9", TCP, 1100)
    assert not felix.passes("172.16.101.9", TCP, 1100)
    assert felix.passes("192.0.2.7", TCP, 2007)
    assert not felix.passes("192.0.2.8", TCP, 2007)
    assert not felix.passes("192.0.2.7", UDP, 2007)


def test_rules_about_groups_stay_apart_by_group() -> None:
    felix = Felix(
        *(allow("TCP", 1000 + n, group="a") for n in range(50)),
        *(allow("TCP", 2000 + n, group="b") for n in range(50)),
    )
    assert felix.rules == 2


@pytest.mark.parametrize("action", ["Deny", "Log", "Pass"])
def test_other_actions_keep_the_order(action: str) -> None:
    felix = Felix(allow("TCP", 80), allow("TCP", 81, action=action), allow("TCP", 82))
    assert felix.rules == 3


def test_one_rule_more_is_one_element_more() -> None:
    rules = [allow("TCP", 1000 + n, nets=(f"172.16.{n}.0/24",)) for n in range(200)]
    felix = Felix(*rules)
    chains, elements = felix.put(*rules, allow("TCP", 1200, nets=("172.16.200.0/24",)))
    # The chain's comment names the rules.
    assert chains == {CHAIN}
    assert list(elements.values()) == [1]
    assert felix.passes("172.16.200.9", TCP, 1200)
    _, elements = felix.put(*rules)
    assert list(elements.values()) == [1]
    assert not felix.passes("172.16.200.9", TCP, 1200)


def test_comments_name_the_rules() -> None:
    felix = Felix(
        allow("TCP", 80),
        allow("UDP", 53, group="a"),
        allow("TCP", 81),
        allow("TCP", 82),
    )
    comments = [rule.comment for rule in felix.table.chains[CHAIN].rules]
    assert comments == [
        "np/openstack/ossg.default.many ingress[0,2-3]",
        "np/openstack/ossg.default.many ingress[1]",
    ]


def test_what_costs_least_is_asked_first() -> None:
    felix = Felix(
        *(allow("TCP", 1000 + n, nets=(f"172.16.{n}.0/24",)) for n in range(9)),
        *(allow("TCP", 2000 + n) for n in range(9)),
        allow(group="a"),
        allow("ICMP"),
    )
    comments = [rule.comment for rule in felix.table.chains[CHAIN].rules]
    indexes = [comment.partition("ingress")[2] for comment in comments]
    assert indexes == ["[19]", "[18]", "[9-17]", "[0-8]"]


def test_a_single_rule_needs_no_set() -> None:
    felix = Felix(allow("TCP", 80))
    (rule,) = felix.table.chains[CHAIN].rules
    assert not any(isinstance(each, InSet) for each in rule.expressions)


@settings(max_examples=300, deadline=None, phases=PHASES)
@given(st.integers(0, 2**32 - 1))
def test_look_ups_mean_what_the_rules_mean(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    felix = Felix()
    for _ in range(3):
        rules = tuple(some_rule(generator) for _ in range(generator.random.randint(0, 12)))
        felix.put(*rules)
        check(felix.table)
        resources = dict([workload(1, "many"), group_policy("many", *rules)])
        cluster = Cluster(resources)
        for _ in range(30):
            packet = generator.packet()
            end = "10.0.0.1" if packet.ip_version == 4 else "fd00::1"
            packet = replace(packet, destination=pack_address(end))
            wanted = cluster.judge(packet, lambda _, d: d is Direction.INGRESS)
            passes, _ = through(felix.renderer.desired, packet, "eth0", "tap1")
            assert passes == wanted.allowed, (str(packet), rules)


def some_rule(generator: ClusterGenerator) -> Rule:
    """Draw a rule that allows; half of them are of the simplest shapes."""
    random = generator.random
    if random.randrange(2):
        return msgspec.structs.replace(generator.rule(), action="Allow")
    version = random.choice((4, 6))
    nets = random.sample(NETS_4 if version == 4 else NETS_6, random.randint(0, 2))
    ports = random.sample((22, 80, "80:443", 443, 100), random.randint(0, 2))
    return Rule(
        action="Allow",
        ip_version=version,
        protocol=random.choice(("TCP", "UDP", "SCTP")),
        source=EntityRule(nets=tuple(nets)),
        destination=EntityRule(ports=tuple(ports)),
    )

"""Host endpoints and staged policies, case by case (specification sections 1.6 and 3.8)."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.datamodel.endpoints import HostEndpoint, HostEndpointSpec
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    StagedGlobalNetworkPolicy,
    StagedGlobalNetworkPolicySpec,
    Tier,
    TierSpec,
)
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.datamodel.rules import EntityRule, Rule
from calico_openstack.felix.calc import CalculationSettings, HostCalculation
from calico_openstack.felix.render import DenyAction, Renderer, RenderSettings
from calico_openstack.felix.render.nft import Counter, Reject, TableState, Verdict
from calico_openstack.felix.render.renderer import IP_TABLE, TABLES
from calico_openstack.felix.render.settings import OpenPort
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.host_interfaces import InterfaceSelection
from calico_openstack.policy.packet import Packet
from tests.support.hooks import through
from tests.support.nft_model import check
from tests.support.resources import allow, group_policy, workload

TCP = 6
OUTSIDE, PEER = "192.0.2.1", "198.51.100.1"
OWN, OTHER = "192.0.2.254", "198.51.100.254"
VM = "10.0.0.1"
INTERFACES = {
    "eth0": frozenset({pack_address(OWN)}),
    "eth1": frozenset({pack_address(OTHER)}),
    "lo": frozenset({pack_address("127.0.0.1")}),
}
SSH = OpenPort(TCP, None, 22)
ETCD = OpenPort(TCP, None, 2379)


def host_endpoint(
    name: str = "uplink", *, node: str = "here", **spec: Any
) -> tuple[ResourceKey, Resource]:
    spec = spec or {"interface_name": "eth0"}
    metadata = Metadata(name=name, labels={"host": name})
    body = HostEndpointSpec(node=node, **spec)
    return ResourceKey("HostEndpoint", name), HostEndpoint(metadata=metadata, spec=body)


def policy(
    name: str, *ingress: Rule, egress: tuple[Rule, ...] = (), **spec: Any
) -> tuple[ResourceKey, Resource]:
    types = (*(("Ingress",) if ingress else ()), *(("Egress",) if egress else ()))
    values = {"selector": "has(host)", "ingress": ingress, "egress": egress, "types": types, **spec}
    body = GlobalNetworkPolicySpec(**values)
    key = ResourceKey("GlobalNetworkPolicy", name)
    return key, GlobalNetworkPolicy(metadata=Metadata(name=name), spec=body)


def staged(name: str, *ingress: Rule, **spec: Any) -> tuple[ResourceKey, Resource]:
    values = {"selector": "all()", "ingress": ingress, "types": ("Ingress",), **spec}
    body = StagedGlobalNetworkPolicySpec(**values)
    key = ResourceKey("StagedGlobalNetworkPolicy", name)
    return key, StagedGlobalNetworkPolicy(metadata=Metadata(name=name), spec=body)


class Felix:
    """The host ``here`` with one workload that lets everything in and out."""

    def __init__(self, *items: tuple[ResourceKey, Resource | Invalid], **options: Any) -> None:
        selection = InterfaceSelection(excluded=("docker0", "/^veth/"))
        calculation = CalculationSettings(host_interfaces=selection)
        self.calculation = HostCalculation("here", calculation)
        self.calculation.update_interfaces(INTERFACES)
        settings = RenderSettings(failsafe_inbound=(SSH,), failsafe_outbound=(ETCD,), **options)
        self.renderer = Renderer(settings, self.calculation.state)
        self.put(workload(1, "open"), group_policy("open", allow()), *items)

    def put(self, *items: tuple[ResourceKey, Resource | Invalid | None]) -> None:
        for key, value in items:
            self.calculation.update(key, value)
        self.renderer.apply(self.calculation.flush())
        for table in TABLES:
            check(self.renderer.desired.ruleset[table])

    @property
    def table(self) -> TableState:
        return self.renderer.desired.ruleset[IP_TABLE]

    def way(self, incoming: str, outgoing: str, port: int = 80) -> tuple[bool, bool]:
        """Return whether a TCP packet passes, and whether it is tracked."""
        source = {"": OWN, "tap1": VM, "eth1": PEER}.get(incoming, OUTSIDE)
        destination = {"": OWN, "tap1": VM, "eth1": PEER}.get(outgoing, OUTSIDE)
        ends = pack_address(source), pack_address(destination)
        return through(self.renderer.desired, Packet(*ends, TCP, 999, port), incoming, outgoing)

    def passes(self, incoming: str, outgoing: str, port: int = 80) -> bool:
        return self.way(incoming, outgoing, port)[0]


WAYS = [
    ("eth0", ""),
    ("", "eth0"),
    ("eth0", "tap1"),
    ("tap1", "eth0"),
    ("eth0", "eth1"),
    ("", "tap1"),
]


def test_without_host_endpoints_the_host_is_not_restricted() -> None:
    felix = Felix(policy("closed", Rule(action="Deny"), egress=(Rule(action="Deny"),)))
    assert all(felix.passes(*way) for way in WAYS)
    assert not {"filter-output", "raw-output", "mangle-prerouting"} & felix.table.chains.keys()


def test_without_policy_only_failsafe_ports_are_open() -> None:
    felix = Felix(host_endpoint())
    assert not felix.passes("eth0", "")
    assert felix.passes("eth0", "", 22)
    assert not felix.passes("", "eth0")
    assert felix.passes("", "eth0", 2379)
    # Others than the host itself are not concerned.
    assert felix.passes("eth0", "tap1")
    assert felix.passes("tap1", "eth0")
    assert felix.passes("eth0", "eth1")
    assert felix.passes("eth1", "")


@pytest.mark.parametrize(("kind", "passes"), [(135, True), (136, True), (128, False)])
def test_neighbours_are_found_whatever_policy_says(kind: int, passes: bool) -> None:
    felix = Felix(host_endpoint())
    ends = pack_address("fe80::1"), pack_address("fe80::2")
    packet = Packet(*ends, 58, icmp_type=kind, icmp_code=0)
    assert through(felix.renderer.desired, packet, "eth0", "")[0] == passes
    assert through(felix.renderer.desired, packet, "", "eth0")[0] == passes


def test_the_host_always_reaches_its_workloads() -> None:
    felix = Felix(host_endpoint("all", interface_name="*"), workload(2))
    assert felix.passes("", "tap1")
    assert felix.passes("", "tap2")


def test_profiles_decide_after_policies() -> None:
    felix = Felix(
        host_endpoint(interface_name="eth0", profiles=("projectcalico-default-allow",)),
    )
    assert felix.passes("eth0", "")
    felix.put(policy("web", allow("TCP", 443)))
    assert felix.passes("eth0", "", 443)
    assert not felix.passes("eth0", "", 80)
    assert felix.passes("", "eth0", 80)


def test_forwarded_packets_need_policies_that_apply_on_forward() -> None:
    felix = Felix(host_endpoint(), policy("local", allow("TCP", 443)))
    assert felix.passes("eth0", "tap1", 80)
    felix.put(policy("all", allow("TCP", 443), apply_on_forward=True))
    assert felix.passes("eth0", "tap1", 443)
    assert not felix.passes("eth0", "tap1", 80)
    # Failsafe ports are the host's own.
    assert not felix.passes("eth0", "tap1", 22)
    assert felix.passes("tap1", "eth0", 80)
    assert felix.passes("eth1", "tap1", 80)
    felix.put(policy("all", egress=(allow("TCP", 443),), apply_on_forward=True))
    assert felix.passes("eth0", "tap1", 80)
    assert felix.passes("tap1", "eth0", 443)
    assert not felix.passes("tap1", "eth0", 80)
    assert not felix.passes("eth1", "eth0", 80)


def test_workloads_and_the_interface_must_both_allow() -> None:
    felix = Felix(
        host_endpoint(),
        policy("all", allow(), egress=(allow(),), apply_on_forward=True),
        workload(2),
    )
    assert felix.passes("eth0", "tap1")
    assert not felix.passes("eth0", "tap2")


def test_before_translation_denial_stops_and_permission_is_final() -> None:
    rules = (allow("TCP", 443), Rule(action="Deny", protocol="TCP"))
    felix = Felix(host_endpoint(), policy("early", *rules, pre_dnat=True, apply_on_forward=True))
    assert felix.passes("eth0", "", 443)
    assert felix.passes("eth0", "tap1", 443)
    assert felix.passes("eth0", "", 22)
    assert not felix.passes("eth0", "tap1", 80)
    assert felix.passes("tap1", "eth0", 80)
    assert "mangle-prerouting" in felix.table.chains
    felix.put((policy("early")[0], None))
    assert "mangle-prerouting" not in felix.table.chains
    assert "pre-dnat-allowed" not in felix.table.chains


def test_untracked_policies() -> None:
    untracked = policy(
        "fast",
        allow("TCP", 443),
        egress=(allow("TCP", 443), Rule(action="Deny", protocol="TCP", destination=_port(81))),
        do_not_track=True,
        apply_on_forward=True,
    )
    felix = Felix(host_endpoint(), untracked)
    assert felix.way("eth0", "", 443) == (True, False)
    assert felix.way("", "eth0", 443) == (True, False)
    assert felix.way("eth0", "", 22) == (True, True)
    # Undecided packets meet the ordinary policies: there are none.
    assert not felix.passes("eth0", "", 80)
    assert not felix.passes("", "eth0", 81)
    # There is no tracking for workloads to escape from.
    assert felix.way("tap1", "eth0", 443) == (True, True)


def test_endpoints_for_all_interfaces_have_no_untracked_policy() -> None:
    untracked = policy("fast", allow("TCP", 443), do_not_track=True, apply_on_forward=True)
    felix = Felix(host_endpoint("all", interface_name="*"), untracked)
    assert not felix.passes("eth0", "", 443)
    assert "raw-output" not in felix.table.chains


def test_named_endpoints_go_before_the_one_for_all() -> None:
    felix = Felix(
        host_endpoint("all", interface_name="*"),
        host_endpoint("named", interface_name="eth0"),
        policy("closed", Rule(action="Deny"), selector="host == 'all'", apply_on_forward=True),
        policy("open", allow(), selector="host == 'named'"),
    )
    assert felix.passes("eth0", "")
    assert felix.passes("eth0", "tap1")
    assert not felix.passes("eth1", "")
    assert not felix.passes("eth1", "tap1")
    assert not felix.passes("eth9", "")


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ({"interface_name": "eth0"}, {"interface_name": "eth0"}, "a"),
        ({"expected_ips": (OWN,)}, {"interface_name": "eth0"}, "a"),
        ({"expected_ips": ("192.0.2.9",)}, {"interface_name": "eth0"}, "b"),
        ({"interface_name": "eth1", "expected_ips": (OWN,)}, {"expected_ips": (OWN,)}, "b"),
        ({"interface_name": "*"}, {"expected_ips": (OWN,)}, "b"),
    ],
)
def test_who_governs_an_interface(
    first: dict[str, Any], second: dict[str, Any], winner: str
) -> None:
    felix = Felix(host_endpoint("a", **first), host_endpoint("b", **second))
    governed = {
        interface: key.name
        for key, endpoint in felix.calculation.state.host_endpoints.items()
        for interface in endpoint.interfaces
    }
    assert governed["eth0"] == winner


def test_excluded_and_workload_interfaces_are_not_governed() -> None:
    names = ("docker0", "veth1", "tap1", "eth7")
    felix = Felix(*(host_endpoint(name, interface_name=name) for name in names))
    felix.calculation.update_interfaces(dict.fromkeys(names, frozenset()))
    felix.put()
    state = felix.calculation.state
    assert {key.name for key in state.host_endpoints} == {"eth7"}
    problems = {key.name for key in state.problems if key.kind == "HostEndpoint"}
    assert problems == {"docker0", "veth1", "tap1"}


def test_other_hosts_endpoints_are_members_only() -> None:
    felix = Felix(
        host_endpoint("far", node="there", interface_name="eth0", expected_ips=(OUTSIDE,)),
        host_endpoint(),
        policy("peers", Rule(action="Allow", source=EntityRule(selector="host == 'far'"))),
    )
    assert felix.passes("eth0", "")
    felix.put((host_endpoint("far")[0], None))
    assert not felix.passes("eth0", "")


def test_an_invalid_endpoint_is_closed() -> None:
    key, value = host_endpoint()
    felix = Felix((key, value), policy("open", allow()))
    assert felix.passes("eth0", "")
    felix.put((key, Invalid(key.path, key, (Reason("spec", "bad"),), value)))
    assert not felix.passes("eth0", "")
    assert felix.passes("eth0", "", 22)
    felix.put((key, Invalid(key.path, key, (Reason("spec", "bad"),), None)))
    assert felix.passes("eth0", "")


def test_a_tier_that_passes_leaves_forwarded_packets_alone() -> None:
    tier = Tier(metadata=Metadata(name="t"), spec=TierSpec(default_action="Pass"))
    felix = Felix(
        host_endpoint(),
        (ResourceKey("Tier", "t"), tier),
        policy("web", allow("TCP", 443), tier="t", apply_on_forward=True),
    )
    assert felix.passes("eth0", "tap1", 80)
    assert not felix.passes("eth0", "", 80)


def test_rejection_where_the_kernel_cannot_answer_is_dropping() -> None:
    deny = Rule(action="Deny")
    felix = Felix(
        host_endpoint(),
        policy("early", deny, pre_dnat=True, apply_on_forward=True),
        policy("fast", deny, do_not_track=True, apply_on_forward=True),
        policy("late", deny, apply_on_forward=True),
        deny_action=DenyAction.REJECT,
    )
    rejecting = {
        name
        for name, chain in felix.table.chains.items()
        if any(isinstance(each, Reject) for rule in chain.rules for each in rule.expressions)
    }
    assert {"in-gnp/late", "forward-in-gnp/late"} <= rejecting
    assert not any(name.startswith(("pre-dnat", "untracked")) for name in rejecting)


def test_staged_policies_count_at_their_place_and_decide_nothing() -> None:
    felix = Felix(
        staged("trial", allow("TCP", 80), Rule(action="Deny"), Rule(action="Log"), order=1.0),
    )
    assert felix.passes("eth0", "tap1")
    chain = felix.table.chains["staged-in-sgnp/trial"]
    assert [rule.comment for rule in chain.rules] == [
        "sgnp/trial ingress[0]",
        "sgnp/trial ingress[1]",
        "sgnp/trial undecided",
    ]
    assert all(any(isinstance(e, Counter) for e in rule.expressions) for rule in chain.rules)
    jumps = [
        [e.chain for rule in each.rules for e in rule.expressions if isinstance(e, Verdict)]
        for name, each in felix.table.chains.items()
        if name.startswith("in-class")
    ]
    assert [[name for name in some if name] for some in jumps] == [
        ["staged-in-sgnp/trial", "in-np/openstack/ossg.default.open"]
    ]


def test_a_tier_of_staged_policies_is_transparent() -> None:
    felix = Felix(
        (ResourceKey("Tier", "first"), Tier(spec=TierSpec(order=1.0, default_action="Deny"))),
        staged("trial", Rule(action="Deny"), tier="first"),
    )
    assert felix.passes("eth0", "tap1")


@pytest.mark.parametrize("action", ["Delete", "Ignore"])
def test_staged_deletions_have_no_rules(action: str) -> None:
    felix = Felix(staged("trial", Rule(action="Deny"), staged_action=action))
    assert "staged-in-sgnp/trial" not in felix.table.chains


def test_sets_that_are_needed_everywhere_are_kept() -> None:
    rule = Rule(action="Allow", source=EntityRule(selector="has(sg-open)"))
    hint = {"performance_hints": ("AssumeNeededOnEveryNode",)}
    felix = Felix(policy("ready", rule, selector="has(nobody)", **hint))
    (uid,) = felix.calculation.state.sets
    assert pack_address(VM) in felix.calculation.state.sets[uid]
    assert "in-gnp/ready" not in felix.table.chains
    felix.put(policy("ready", rule, selector="has(nobody)"))
    assert not felix.calculation.state.sets


def _port(number: int) -> EntityRule:
    return EntityRule(ports=(number,))

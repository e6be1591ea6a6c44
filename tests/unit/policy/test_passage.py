"""A packet's way through a host, step by step with reasons."""

from __future__ import annotations

import pytest

from calico_openstack.datamodel.endpoints import HostEndpoint, HostEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import GlobalNetworkPolicy, GlobalNetworkPolicySpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.rules import EntityRule, Rule
from calico_openstack.policy.addresses import pack_address, pack_prefix
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Packet
from calico_openstack.policy.passage import AlwaysOpen, HostRules, Passage, Place, passage
from calico_openstack.policy.rules import Action
from tests.support.resources import allow, group_policy, workload

RULES = HostRules(
    metadata=(pack_address("127.0.0.1"), 8775),
    open_inbound=(AlwaysOpen(6, pack_prefix("192.0.2.0/24"), 22),),
)
WEB = Rule(action="Allow", protocol="TCP", destination=EntityRule(ports=(80,)))
POLICY = ResourceKey("GlobalNetworkPolicy", "host-in")


def way(
    packet: Packet, incoming: str, outgoing: str, *, forward: bool = False, reach: bool = False
) -> Passage:
    """Follow a packet through a host with one workload of an open group, and an uplink."""
    spec = GlobalNetworkPolicySpec(
        selector="has(host)", ingress=(WEB,), types=("Ingress",), apply_on_forward=forward
    )
    uplink = HostEndpoint(
        metadata=Metadata(name="uplink", labels={"host": ""}),
        spec=HostEndpointSpec(node="here", interface_name="eth0"),
    )
    resources = dict([workload(1, "open"), group_policy("open", allow())])
    resources[ResourceKey("HostEndpoint", "uplink")] = uplink  # type: ignore[assignment]
    resources[POLICY] = GlobalNetworkPolicy(spec=spec)  # type: ignore[assignment]
    rules = HostRules(
        metadata=RULES.metadata, open_inbound=RULES.open_inbound, workloads_reach_host=reach
    )
    host = Cluster(resources).host("here", {"eth0": frozenset()}, rules)
    return passage(host, packet, incoming, outgoing)


def tcp(source: str, destination: str, port: int) -> Packet:
    return Packet(pack_address(source), pack_address(destination), 6, 999, port)


def places(found: Passage) -> list[Place]:
    return [step.place for step in found.steps]


def test_workload_policy_then_the_interface() -> None:
    found = way(tcp("192.0.2.1", "10.0.0.1", 80), "eth0", "tap1", forward=True)
    assert found.allowed
    assert places(found) == [Place.FORWARD, Place.WORKLOAD]
    (reason,) = found.steps[0].reasons
    assert (reason.block, reason.rule, reason.action) == (POLICY, 0, Action.ALLOW)
    refused = way(tcp("192.0.2.1", "10.0.0.1", 81), "eth0", "tap1", forward=True)
    assert not refused.allowed
    assert places(refused) == [Place.FORWARD]
    assert refused.steps[-1].reasons[-1].action is Action.DENY


@pytest.mark.parametrize(
    ("source", "port", "last"),
    [
        ("192.0.2.1", 80, (Place.HOST, True)),
        ("192.0.2.1", 81, (Place.HOST, False)),
        ("192.0.2.1", 22, (Place.FAILSAFE, True)),
        ("198.51.100.1", 22, (Place.HOST, False)),
    ],
)
def test_to_the_host(source: str, port: int, last: tuple[Place, bool]) -> None:
    found = way(tcp(source, "192.0.2.254", port), "eth0", "")
    assert (found.steps[-1].place, found.steps[-1].allowed) == last


def test_from_a_workload_to_its_host() -> None:
    packet = tcp("10.0.0.1", "192.0.2.254", 80)
    assert places(way(packet, "tap1", "")) == [Place.SPOOFING, Place.WORKLOAD, Place.TO_HOST]
    assert not way(packet, "tap1", "").allowed
    assert way(packet, "tap1", "", reach=True).allowed
    metadata = way(tcp("10.0.0.1", "127.0.0.1", 8775), "tap1", "")
    assert metadata.allowed
    assert places(metadata) == [Place.SPOOFING, Place.SERVICE]


def test_foreign_sources_and_unknown_workloads() -> None:
    assert places(way(tcp("10.0.0.9", "192.0.2.1", 80), "tap1", "eth0")) == [Place.SPOOFING]
    assert not way(tcp("10.0.0.1", "192.0.2.1", 80), "tap9", "eth0").allowed
    assert not way(tcp("192.0.2.1", "10.0.0.1", 80), "eth0", "tap9").allowed


def test_what_no_workload_may_send() -> None:
    vxlan = Packet(pack_address("10.0.0.1"), pack_address("192.0.2.1"), 17, 999, 4789)
    assert places(way(vxlan, "tap1", "eth0")) == [Place.SPOOFING, Place.FIXED]


def test_the_host_reaches_its_workloads() -> None:
    assert way(tcp("192.0.2.254", "10.0.0.1", 81), "", "tap1").steps == ()

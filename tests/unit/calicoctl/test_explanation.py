"""Why packets get through or not."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.calicoctl.ends import (
    End,
    EndError,
    candidates,
    matched,
    packet_of,
    trace_of,
    where_they_run,
)
from calico_openstack.calicoctl.explaining import lines
from calico_openstack.calicoctl.explanation import Explanation, explain
from calico_openstack.datamodel import (
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    HostEndpoint,
    HostEndpointSpec,
    IpNat,
    Metadata,
    Resource,
    ResourceKey,
    Rule,
)
from calico_openstack.policy.addresses import unpack_address
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction
from tests.support.clusters import ClusterGenerator
from tests.support.resources import allow, group_policy, workload

GROUP = "sg.projectcalico.org/openstack-"


def _cloud(*more: tuple[ResourceKey, Resource]) -> dict[ResourceKey, Resource]:
    """Return a web server with a floating IP on one host and two clients on another."""
    result: dict[ResourceKey, Resource] = {}
    nat = (IpNat(internal_ip="10.0.0.1", external_ip="198.51.100.1"),)
    for number, group, node, spec in (
        (1, "web", "here", {"ip_nats": nat}),
        (2, "client", "there", {}),
        (3, "client", "here", {}),
    ):
        key, value = workload(number, group, node=node, **spec)
        labels = {**value.metadata.labels, f"{GROUP}{group}": f"{group}-servers"}
        metadata = Metadata(name=key.name, namespace=key.namespace, labels=labels)
        result[key] = type(value)(metadata=metadata, spec=value.spec)
    result.update([group_policy("web", allow("TCP", 80)), group_policy("client"), *more])
    return result


def _explained(source: str, destination: str, what: str, *more: Any) -> Explanation:
    resources = _cloud(*more)
    cluster = Cluster(resources)
    ends = matched(
        candidates(cluster.endpoints, source), candidates(cluster.endpoints, destination)
    )
    return explain(resources, cluster, packet_of(what, *ends), *ends)


def test_what_is_allowed_names_groups_and_rules() -> None:
    found = _explained("port2", "10.0.0.1", "tcp/80")
    assert found.allowed
    assert [(s.host, s.direction, s.allowed) for s in found.stages] == [
        ("there", "egress", True),
        ("there", "egress", True),
        ("here", "ingress", True),
    ]
    last = found.stages[-1]
    assert (last.policy, last.rule) == ("NetworkPolicy(ossg.default.web)", 0)
    assert last.words == "security group web-servers, ingress rule 0: Allow TCP to port 80"


@pytest.mark.parametrize("source", ["port2", "port3"])
def test_a_missing_rule_comes_with_the_command_that_adds_it(source: str) -> None:
    found = _explained(source, "vm1", "tcp/443")
    assert not found.allowed
    assert found.stages[-1].words.startswith("no rule of security group web-servers matches")
    number = source[-1]
    assert found.stages[-1].remedy == (
        "openstack security group rule create --ingress --ethertype IPv4 --protocol tcp "
        f"--remote-ip 10.0.0.{number}/32 --dst-port 443 web"
    )
    assert found.stages[-1].remedy in "\n".join(lines(found))


def test_both_ends_are_asked() -> None:
    key = ResourceKey("GlobalNetworkPolicy", "closed")
    spec = GlobalNetworkPolicySpec(order=1, egress=(Rule(action="Deny"),), types=("Egress",))
    closed = GlobalNetworkPolicy(metadata=Metadata(name="closed"), spec=spec)
    found = _explained("port2", "port1", "udp/53", (key, closed))
    refusals = [stage for stage in found.stages if stage.allowed is False]
    assert [stage.direction for stage in refusals] == ["egress", "ingress"]
    assert "change rule 0 of GlobalNetworkPolicy closed" in refusals[0].remedy


def test_a_floating_address_is_translated_at_its_host() -> None:
    found = _explained("192.0.2.1", "198.51.100.1", "tcp/80")
    assert found.allowed
    assert "198.51.100.1 is a floating IP, translated to 10.0.0.1" in found.stages[0].words
    assert found.destination.floating == "198.51.100.1"


def test_a_host_endpoint_may_refuse_what_it_forwards() -> None:
    key = ResourceKey("HostEndpoint", "uplink")
    uplink = HostEndpoint(
        metadata=Metadata(name="uplink", labels={"host": ""}),
        spec=HostEndpointSpec(node="here", interface_name="eth0"),
    )
    policy = ResourceKey("GlobalNetworkPolicy", "host")
    spec = GlobalNetworkPolicySpec(
        selector="has(host)", types=("Ingress",), ingress=(allow("TCP", 22),), apply_on_forward=True
    )
    value = GlobalNetworkPolicy(metadata=Metadata(name="host"), spec=spec)
    more = ((key, uplink), (policy, value))
    found = _explained("192.0.2.1", "port1", "tcp/80", *more)
    assert [stage.place for stage in found.stages] == ["what the host's interface forwards"]
    assert not found.allowed
    # Between instances of one host no such interface is passed.
    assert _explained("port3", "port1", "tcp/80", *more).allowed


@pytest.mark.parametrize(
    ("source", "destination", "what", "reason"),
    [
        ("192.0.2.1", "192.0.2.2", "icmp", "neither"),
        ("nobody", "port1", "icmp", "'nobody' is neither an address nor the name or id of a port"),
        (
            "port",
            "port1",
            "icmp",
            "stands for 3 endpoints: name one by the id of its port\n  port1  10.0.0.1",
        ),
        ("10.0.0.1", "fd00::2", "icmp", "same family"),
        ("port1", "port2", "tcp", "name a port"),
        ("port1", "port2", "tcp/70000", "not a number"),
        ("port1", "port2", "47/1", "no ports"),
        ("port1", "port2", "tpc/1", "'tpc'"),
    ],
)
def test_what_cannot_be_asked_says_why(
    source: str, destination: str, what: str, reason: str
) -> None:
    with pytest.raises(EndError, match=reason):
        _explained(source, destination, what)


def test_ends_are_found_by_anything_that_names_them() -> None:
    endpoints = Cluster(_cloud()).endpoints
    for text in ("port1", "vm1", "tap1", "10.0.0.1/32", "198.51.100.1"):
        (first, *_) = candidates(endpoints, text)
        assert first.address == "10.0.0.1"
        assert first.endpoint is not None
    (network,) = candidates(endpoints, "10.0.0.0/24")
    assert (network.address, network.note) == ("10.0.0.1", "10.0.0.1 stands for 10.0.0.0/24")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_the_verdict_is_that_of_the_whole_cluster(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.workloads()
    cluster = Cluster(resources)
    packet = generator.packet()
    ends = []
    for packed in (packet.source, packet.destination):
        address = str(unpack_address(packed))
        ends.append(candidates(cluster.endpoints, address)[0])
    source, destination = ends
    concerned = {(source.endpoint, Direction.EGRESS), (destination.endpoint, Direction.INGRESS)}
    if {key for key, _ in concerned} == {None} or any(end.floating for end in ends):
        return
    found = explain(resources, cluster, packet, source, destination)
    if any(stage.place == "interface" for stage in found.stages):
        return  # an interface of two endpoints: the other one has it
    judged = cluster.judge(packet, lambda key, direction: (key, direction) in concerned)
    assert found.allowed == judged.allowed
    assert list(lines(found))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.0/8", True),
        ("10.0.0.1/32", True),
        ("10.0.0.2", False),
        ("10.0.0.10", False),
        ("0.0.0.1", False),
        ("fd00:0::1", True),
        ("198.51.100.7", True),
        ("1f0c4a5e-port", True),
        ("1f0c", True),
        ("instance-1", True),
        ("tap1f0c4a5e-po", True),
        ("web-1", True),
        ("web-1.example.org", True),
        ("web-", False),
        ("eb-1", False),
    ],
)
def test_an_end_leaves_its_trace_in_what_is_stored(text: str, found: bool) -> None:
    stored = (
        b'{"metadata":{"annotations":{"openstack.projectcalico.org/fqdn":"web-1.example.org."}},'
        b'"spec":{"workload":"instance-1","endpoint":"1f0c4a5e-port",'
        b'"interfaceName":"tap1f0c4a5e-po","ipNetworks":["10.0.0.1/32","fd00::1/128"],'
        b'"ipNATs":[{"internalIP":"10.0.0.1","externalIP":"198.51.100.7"}]}}'
    )
    trace = trace_of(text)
    assert trace is not None
    assert trace.is_in(stored) is found


def test_what_json_writes_in_several_ways_leaves_no_trace() -> None:
    assert trace_of("b\u00fccher") is None
    assert trace_of('a"b') is None


def test_who_has_an_address_twice_is_noted() -> None:
    key, value = workload(4, "client", ip_networks=("10.0.0.1/32",))
    endpoints = Cluster(_cloud((key, value))).endpoints
    assert candidates(endpoints, "10.0.0.1")[0].note.startswith("2 endpoints have 10.0.0.1")
    assert candidates(endpoints, "192.0.2.1") == [End("192.0.2.1")]


def test_a_port_that_migrates_is_taken_to_be_where_its_instance_runs() -> None:
    source_key, source = workload(4, node="here")
    target_key, target = workload(4, node="there")
    both = Cluster({source_key: source, target_key: target}).endpoints
    assert list(where_they_run(both, {target_key.name})) == [source_key]
    # The migration is over for the source, and its object not yet gone.
    assert list(where_they_run({target_key: both[target_key]}, {target_key.name})) == [target_key]
    assert where_they_run(both, ()) == both

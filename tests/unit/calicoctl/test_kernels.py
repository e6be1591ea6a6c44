"""What is made of the answers of Felix about its kernel, and how it is told."""

from __future__ import annotations

import msgspec
import pytest

from calico_openstack.agent.introspection.protocol import Answer
from calico_openstack.calicoctl.ends import End
from calico_openstack.calicoctl.explaining import lines
from calico_openstack.calicoctl.explanation import Explanation, Stage
from calico_openstack.calicoctl.kernels import HostView, view_of, with_way
from calico_openstack.calicoctl.treatment import limits, outgoing_translation
from calico_openstack.datamodel import IPPool, IPPoolSpec, Metadata, QosControls, ResourceKey
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.packet import Direction

GOOD = {"thing": "chain a", "kernel": "ok", "wanted": ""}
BAD = {"thing": "chain b", "kernel": "missing", "wanted": ""}
KEY = ResourceKey("WorkloadEndpoint", "one", "openstack")


def test_faults_are_what_is_not_ok() -> None:
    assert view_of("h", Answer(rows=(GOOD, BAD))) == HostView("h", 2, ("chain b: missing",))


def test_an_endpoint_that_felix_does_not_know_is_a_fault() -> None:
    assert view_of("h", Answer()).faults


def test_no_answer_is_neither_good_nor_bad() -> None:
    view = view_of("h", Answer(error="gone"))
    assert (view.unknown, view.faults) == ("gone", ())
    assert "systemctl status calico-felix" in view.remedy


@pytest.mark.parametrize(
    ("interface", "way", "faulty"),
    [
        ("eth0", "to 192.0.2.1 by eth0", False),
        ("", "nowhere: Network is unreachable", True),
        ("lo", "blackhole by lo", True),
    ],
)
def test_a_missing_route_is_a_fault(interface: str, way: str, faulty: bool) -> None:
    row = {"destination": "10.0.0.1", "interface": interface, "way": way, "route": "10.0.0.1/32"}
    view = with_way(HostView("h", 3), Answer(rows=(row,)))
    assert bool(view.faults) is faulty
    assert view.compared == 4


def _explanation(allowed: bool, *hosts: HostView) -> Explanation:
    return Explanation(
        packet="TCP",
        source=End("10.0.0.1", KEY),
        destination=End("192.0.2.1"),
        ends=("a", "b"),
        titles=("a", "b"),
        allowed=allowed,
        stages=(Stage("h", "the workload's policy", "egress", allowed, "so", remedy="change it"),),
        notes=(),
        hosts=hosts,
    )


@pytest.mark.parametrize(
    ("found", "passes", "told"),
    [
        (_explanation(True, HostView("h", 3)), True, "The packet gets through"),
        (_explanation(False, HostView("h", 3)), False, "  change it"),
        (_explanation(True, HostView("h", 3, ("x: missing",))), False, "a kernel is at fault"),
        (_explanation(False, HostView("h", 3, ("x: missing",))), False, "at fault too"),
        (_explanation(True, HostView("h", unknown="why")), True, "Not all kernels are known"),
    ],
)
def test_the_verdict_is_of_the_model_and_of_the_kernels(
    found: Explanation, passes: bool, told: str
) -> None:
    text = "\n".join(lines(found))
    assert found.passes is passes
    assert told in text
    assert ("!  h: x: missing" in text) is any(host.faults for host in found.hosts)
    assert msgspec.to_builtins(found)["hosts"]


def _pool(cidr: str, nat: bool) -> dict[ResourceKey, IPPool]:
    name = cidr.partition(".")[0]
    spec = IPPoolSpec(cidr=cidr, nat_outgoing=nat)
    return {ResourceKey("IPPool", name): IPPool(metadata=Metadata(name=name), spec=spec)}


@pytest.mark.parametrize(
    ("destination", "translated"), [("192.0.2.1", True), ("10.1.0.1", False), ("11.0.0.1", False)]
)
def test_sources_are_translated_where_they_leave_the_pools(
    destination: str, translated: bool
) -> None:
    resources = {**_pool("10.0.0.0/8", True), **_pool("11.0.0.0/8", False)}
    source, packed = pack_address("10.0.0.1"), pack_address(destination)
    assert bool(outgoing_translation(resources, source, packed)) is translated
    assert not outgoing_translation(resources, pack_address("11.0.0.9"), pack_address("192.0.2.1"))


def test_limits_are_told_for_their_direction() -> None:
    controls = QosControls(egress_bandwidth=10_000_000, ingress_packet_rate=500, dscp=46)
    assert limits(controls, Direction.EGRESS) == (
        "at most 10 Mbit/s, more waits in a queue; marked with DSCP 46"
    )
    assert limits(controls, Direction.INGRESS) == "at most 500 packets/s, more are dropped"
    assert limits(None, Direction.EGRESS) == limits(QosControls(), Direction.INGRESS) == ""

"""Code points of what leaves the cluster."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from calico_openstack.datamodel.dscp import DSCP_ANNOTATION
from calico_openstack.datamodel.endpoints import (
    HostEndpoint,
    HostEndpointSpec,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from calico_openstack.felix.render.nft import Family, Table
from tests.support.nft_model import Frame, Machine, check

HOST = "here"
TABLES = {4: Table(Family.IP, "calico"), 6: Table(Family.IP6, "calico")}
OUTSIDE = {4: "192.0.2.1", 6: "2001:db8::1"}


class Host:
    """A host with endpoints of both IP versions."""

    def __init__(self) -> None:
        self.calculation = HostCalculation(HOST)
        self.renderer = Renderer(RenderSettings(), self.calculation.state)
        self.flush()

    def put(self, number: int, dscp: int | str | None, *addresses: str) -> None:
        key = self.key(number)
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            node=HOST,
            endpoint=f"port{number}",
            interface_name=f"tap{number}",
            ip_networks=addresses or (f"10.65.0.{number}", f"fd00::{number}"),
            qos_controls=QosControls(dscp=dscp),
        )
        metadata = Metadata(name=key.name, namespace="openstack")
        self.calculation.update(key, WorkloadEndpoint(metadata=metadata, spec=spec))
        self.flush()

    def put_host_endpoint(self, dscp: str | None, *addresses: str) -> None:
        annotations = {} if dscp is None else {DSCP_ANNOTATION: dscp}
        spec = HostEndpointSpec(node=HOST, interface_name="eth0", expected_ips=addresses)
        endpoint = HostEndpoint(metadata=Metadata(name="h", annotations=annotations), spec=spec)
        self.calculation.update_interfaces({"eth0": frozenset()})
        self.calculation.update(ResourceKey("HostEndpoint", "h"), endpoint)
        self.flush()

    def key(self, number: int) -> ResourceKey:
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        return ResourceKey("WorkloadEndpoint", name, "openstack")

    def remove(self, number: int) -> None:
        self.calculation.update(self.key(number), None)
        self.flush()

    def put_pool(self, name: str, cidr: str) -> None:
        pool = IPPool(metadata=Metadata(name=name), spec=IPPoolSpec(cidr=cidr))
        self.calculation.update(ResourceKey("IPPool", name), pool)
        self.flush()

    def flush(self) -> None:
        self.renderer.apply(self.calculation.flush())
        for table in TABLES.values():
            check(self.renderer.desired.ruleset[table])

    def code_point(self, source: str, target: str, leaves: str = "eth0") -> int:
        """Return what a packet without a code point has when it leaves the host."""
        ends = (ip_address(source), ip_address(target))
        state = self.renderer.desired.ruleset[TABLES[ends[0].version]]
        if "dscp-postrouting" not in state.chains:
            return 0
        frame = Frame("tap1", leaves, ends[0].packed, ends[1].packed, 17, 1000, 80)
        outcome = Machine(state, frame).run("dscp-postrouting")
        assert outcome.accepted
        return outcome.frame.dscp


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.mark.parametrize(("dscp", "expected"), [("EF", 46), (46, 46), ("10", 10), ("CS6", 48)])
def test_both_versions_are_marked(host: Host, dscp: int | str, expected: int) -> None:
    host.put(1, dscp)
    host.put(2, None)
    assert host.code_point("10.65.0.1", OUTSIDE[4]) == expected
    assert host.code_point("fd00::1", OUTSIDE[6]) == expected
    assert host.code_point("10.65.0.2", OUTSIDE[4]) == 0


def test_what_stays_in_the_cluster_is_not(host: Host) -> None:
    host.put(1, "EF")
    assert host.code_point("10.65.0.1", "10.65.9.9") == 46
    host.put_pool("four", "10.65.0.0/16")
    host.put_pool("six", "fd00::/64")
    assert host.code_point("10.65.0.1", "10.65.9.9") == 0
    assert host.code_point("fd00::1", "fd00::9") == 0
    assert host.code_point("10.65.0.1", OUTSIDE[4]) == 46


def test_default_forwarding_is_a_code_point(host: Host) -> None:
    host.put(1, 0)
    assert "dscp-0" in host.renderer.desired.ruleset[TABLES[4]].chains


def test_without_code_points_there_is_nothing(host: Host) -> None:
    host.put(1, None)
    before = repr(host.renderer.desired.ruleset)
    host.put(1, "EF")
    host.put(2, "AF11")
    host.put(1, "AF11")
    assert "dscp-46" not in host.renderer.desired.ruleset[TABLES[4]].chains
    host.put(1, None)
    host.remove(2)
    assert repr(host.renderer.desired.ruleset) == before


def test_a_shared_address_is_marked_as_the_lowest_key_says(host: Host) -> None:
    host.put(2, 20, "10.65.0.9")
    host.put(1, 10, "10.65.0.9")
    assert host.code_point("10.65.0.9", OUTSIDE[4]) == 10
    host.remove(1)
    assert host.code_point("10.65.0.9", OUTSIDE[4]) == 20


def test_an_endpoint_of_one_version_leaves_the_other_alone(host: Host) -> None:
    host.put(1, "EF", "fd00::1")
    assert "dscp-postrouting" not in host.renderer.desired.ruleset[TABLES[4]].chains
    assert host.code_point("fd00::1", OUTSIDE[6]) == 46


def test_the_host_itself_is_marked_by_an_annotation(host: Host) -> None:
    host.put(1, "AF11")
    host.put_host_endpoint("EF", "192.0.2.9", "2001:db8::9")
    assert host.code_point("192.0.2.9", "198.51.100.1") == 46
    assert host.code_point("2001:db8::9", "2001:db8:1::1") == 46
    assert host.code_point("10.65.0.1", OUTSIDE[4]) == 10
    host.put_host_endpoint("10", "192.0.2.9")
    assert host.code_point("192.0.2.9", "198.51.100.1") == 10
    assert host.code_point("2001:db8::9", "2001:db8:1::1") == 0


def test_what_the_host_sends_to_itself_is_not_marked(host: Host) -> None:
    host.put_host_endpoint("EF", "192.0.2.9")
    assert host.code_point("192.0.2.9", "192.0.2.10", leaves="lo") == 0


@pytest.mark.parametrize("annotation", ["64", "XX", "", None])
def test_an_annotation_that_means_nothing_marks_nothing(host: Host, annotation: str | None) -> None:
    host.put_host_endpoint("EF", "192.0.2.9")
    host.put_host_endpoint(annotation, "192.0.2.9")
    assert "dscp-postrouting" not in host.renderer.desired.ruleset[TABLES[4]].chains

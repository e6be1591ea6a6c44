"""Rules that limit the packets and connections of single endpoints."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from calico_openstack.datamodel.endpoints import (
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from calico_openstack.felix.render.dataplane import DataplaneDelta
from calico_openstack.felix.render.nft import CtState, Family, Limit, MoreConnections, Table
from tests.support.nft_model import Frame, Machine, Outcome, check, unreachable_chains, unused_sets

HOST = "here"
IPV4, IPV6 = Table(Family.IP, "calico"), Table(Family.IP6, "calico")
TCP, UDP = 6, 17
OPEN = ("projectcalico-default-allow",)


class Rendered:
    """A host whose endpoints allow everything, some of them with limits."""

    def __init__(self) -> None:
        self.calculation = HostCalculation(HOST)
        self.renderer = Renderer(RenderSettings(), self.calculation.state)

    def put(self, number: int, controls: QosControls | None, interface: str = "") -> DataplaneDelta:
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            node=HOST,
            endpoint=f"port{number}",
            interface_name=interface or f"tap{number}",
            ip_networks=(f"10.65.0.{number}/32", f"fd00::{number}/128"),
            profiles=OPEN,
            qos_controls=controls,
        )
        value = WorkloadEndpoint(metadata=Metadata(name=name, namespace="openstack"), spec=spec)
        self.calculation.update(ResourceKey("WorkloadEndpoint", name, "openstack"), value)
        return self.flush()

    def remove(self, number: int) -> DataplaneDelta:
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        self.calculation.update(ResourceKey("WorkloadEndpoint", name, "openstack"), None)
        return self.flush()

    def flush(self) -> DataplaneDelta:
        delta = self.renderer.apply(self.calculation.flush())
        for table in (IPV4, IPV6):
            state = self.renderer.desired.ruleset[table]
            check(state)
            idle = unreachable_chains(state) | unused_sets(state)
            assert not [name for name in idle if "rate" in name or "connections" in name]
        return delta

    def forward(self, frame: Frame) -> Outcome:
        return self.run("filter-forward", frame)

    def run(self, chain: str, frame: Frame) -> Outcome:
        table = IPV4 if len(frame.source) == 4 else IPV6
        return Machine(self.renderer.desired.ruleset[table], frame).run(chain)


def frame(source: str, target: str, protocol: int = TCP, **more: object) -> Frame:
    """A packet between workloads, by the last parts of their addresses."""
    ends = [ip_address(f"10.65.0.{number}").packed for number in (source, target)]
    taps = [f"tap{number}" if int(number) < 100 else "eth0" for number in (source, target)]
    return Frame(*taps, *ends, protocol, 1000, 80, **more)  # type: ignore[arg-type]


@pytest.fixture
def host() -> Rendered:
    return Rendered()


def test_without_limits_no_packet_pays(host: Rendered) -> None:
    host.put(1, None)
    state = host.renderer.desired.ruleset[IPV4]
    assert not [name for name in state.chains if "rate" in name or "connections" in name]
    assert not [name for name in state.sets if "rates" in name or "connections" in name]


def test_a_rate_holds_for_established_packets_too(host: Rendered) -> None:
    host.put(1, QosControls(ingress_packet_rate=10))
    for state in (CtState.NEW, CtState.ESTABLISHED, CtState.INVALID):
        assert not host.forward(frame("200", "1", state=state, above_rate=True)).accepted
    assert host.forward(frame("200", "1", state=CtState.ESTABLISHED)).accepted


def test_a_rate_has_a_direction(host: Rendered) -> None:
    host.put(1, QosControls(egress_packet_rate=10))
    assert not host.forward(frame("1", "200", above_rate=True)).accepted
    assert host.forward(frame("200", "1", above_rate=True)).accepted


def test_a_limit_is_of_one_endpoint(host: Rendered) -> None:
    host.put(1, QosControls(egress_packet_rate=10, egress_max_connections=1))
    host.put(2, None)
    assert host.forward(frame("2", "200", above_rate=True, above_number=True)).accepted


def test_both_ends_of_a_local_packet_are_asked(host: Rendered) -> None:
    host.put(1, None)
    host.put(2, QosControls(ingress_packet_rate=10))
    assert not host.forward(frame("1", "2", above_rate=True)).accepted


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_the_number_of_connections_counts_for_new_ones_of_tcp(
    host: Rendered, direction: str
) -> None:
    host.put(1, QosControls(**{f"{direction}_max_connections": 3}))
    new = frame(*(("1", "200") if direction == "egress" else ("200", "1")), above_number=True)
    assert not host.forward(new).accepted
    assert host.forward(replace(new, state=CtState.ESTABLISHED)).accepted
    assert host.forward(replace(new, protocol=UDP)).accepted
    assert host.forward(replace(new, above_number=False)).accepted


def test_services_of_the_host_are_not_limited(host: Rendered) -> None:
    host.put(1, QosControls(egress_packet_rate=10))
    asked = replace(frame("1", "200", UDP, above_rate=True), oifname="", destination_port=53)
    assert host.run("filter-input", asked).accepted
    other = replace(asked, destination_port=5000, state=CtState.ESTABLISHED)
    assert not host.run("filter-input", other).accepted
    assert host.run("filter-input", replace(other, above_rate=False)).accepted


def test_values_and_their_defaults(host: Rendered) -> None:
    host.put(1, QosControls(ingress_packet_rate=100, egress_max_connections=7))
    for table in (IPV4, IPV6):
        chains = host.renderer.desired.ruleset[table].chains
        found = {
            expression
            for chain in chains.values()
            for rule in chain.rules
            for expression in rule.expressions
            if isinstance(expression, Limit | MoreConnections)
        }
        assert found == {Limit(100, 1, 5, over=True), MoreConnections(7)}


def test_a_changed_limit_touches_its_own_chain_only(host: Rendered) -> None:
    host.put(1, QosControls(ingress_packet_rate=100, egress_max_connections=7))
    delta = host.put(1, QosControls(ingress_packet_rate=200, egress_max_connections=7))
    changed = delta.tables[IPV4]
    assert len(changed.chains) == 1
    assert not changed.sets
    assert not changed.elements


def test_limits_that_go_leave_nothing(host: Rendered) -> None:
    host.put(1, None)
    before = repr(host.renderer.desired.ruleset)
    host.put(2, QosControls(ingress_packet_rate=100, egress_max_connections=7))
    host.put(1, QosControls(egress_packet_rate=100))
    host.put(1, None)
    host.remove(2)
    assert repr(host.renderer.desired.ruleset) == before


def test_an_interface_may_change_hands(host: Rendered) -> None:
    host.put(1, QosControls(egress_packet_rate=100))
    host.put(2, QosControls(egress_packet_rate=100), interface="tap1")
    assert not host.forward(frame("1", "200", above_rate=True)).accepted
    host.remove(1)
    assert not host.forward(frame("1", "200", above_rate=True)).accepted
    host.remove(2)
    state = host.renderer.desired.ruleset[IPV4]
    assert not [name for name in state.sets if "rates" in name]

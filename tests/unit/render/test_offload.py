"""Which flows go by the rules, and which must not."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from calico_openstack.felix.render.dataplane import DataplaneDelta
from calico_openstack.felix.render.nft import Family, InSet, OffloadFlow, Rule, Table
from tests.support.nft_model import check
from tests.support.resources import workload

IPV4, IPV6 = Table(Family.IP, "calico"), Table(Family.IP6, "calico")
LIMITED = [
    QosControls(ingress_packet_rate=10),
    QosControls(egress_packet_rate=10),
    QosControls(ingress_max_connections=10),
    QosControls(egress_max_connections=10),
    QosControls(dscp=10),
]


class Host:
    def __init__(self, **settings: Any) -> None:
        self.calculation = HostCalculation("here")
        self.renderer = Renderer(RenderSettings(**settings), self.calculation.state)
        self.first = self.flush()

    def put(self, number: int, controls: QosControls | None = None) -> DataplaneDelta:
        self.calculation.update(*workload(number, qos_controls=controls))
        return self.flush()

    def remove(self, number: int) -> DataplaneDelta:
        self.calculation.update(workload(number)[0], None)
        return self.flush()

    def flush(self) -> DataplaneDelta:
        delta = self.renderer.apply(self.calculation.flush())
        for table in (IPV4, IPV6):
            check(self.renderer.desired.ruleset[table])
        return delta

    def rules(self, table: Table = IPV4) -> list[Rule]:
        """Return the rules of forwarded packets that offload."""
        chain = self.renderer.desired.ruleset[table].chains["filter-forward"]
        return [rule for rule in chain.rules if isinstance(rule.expressions[-1], OffloadFlow)]

    def excepted(self, table: Table = IPV4) -> set[object]:
        """Return the addresses whose flows the rule leaves alone."""
        (rule,) = self.rules(table)
        matches = [each for each in rule.expressions if isinstance(each, InSet)]
        assert all(each.invert for each in matches)
        assert len(matches) in (0, 2)
        state = self.renderer.desired.ruleset[table]
        return set(state.elements[matches[0].set_name]) if matches else set()


def test_flows_are_not_offloaded_unless_asked_for() -> None:
    host = Host()
    host.put(1, QosControls(dscp=10))
    state = host.renderer.desired.ruleset[IPV4]
    assert not host.rules()
    assert not state.flowtables
    assert "no-flow-offload" not in state.sets


@pytest.mark.parametrize("table", [IPV4, IPV6])
def test_established_flows_are_offloaded_before_they_are_accepted(table: Table) -> None:
    host = Host(flow_offload=True)
    host.put(1)
    assert host.renderer.desired.ruleset[table].flowtables == {"calico"}
    assert host.first.tables[table].flowtables == {"calico"}
    chain = host.renderer.desired.ruleset[table].chains["filter-forward"]
    assert chain.rules[0] in host.rules(table)
    assert host.excepted(table) == set()


@pytest.mark.parametrize("controls", LIMITED)
def test_what_every_packet_must_meet_is_not_gone_by(controls: QosControls) -> None:
    host = Host(flow_offload=True)
    host.put(1, controls)
    host.put(2)
    assert host.excepted() == {bytes((10, 0, 0, 1))}
    assert len(host.excepted(IPV6)) == 1
    host.put(1)
    assert host.excepted() == set()
    assert "no-flow-offload" not in host.renderer.desired.ruleset[IPV4].sets


def test_limits_of_bandwidth_hold_for_offloaded_flows() -> None:
    host = Host(flow_offload=True)
    host.put(1, QosControls(ingress_bandwidth=1_000_000, egress_bandwidth=1_000_000))
    assert host.excepted() == set()


def test_an_exception_goes_with_its_endpoint() -> None:
    host = Host(flow_offload=True)
    for number in (1, 2):
        host.put(number, LIMITED[0])
    host.remove(1)
    assert host.excepted() == {bytes((10, 0, 0, 2))}
    host.remove(2)
    assert host.excepted() == set()

"""Routes of endpoints that migrate."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from calico_openstack.datamodel.endpoints import IpNat, WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.calc.migration import RoutePriority
from calico_openstack.felix.render import Renderer, RenderSettings

HOST = "here"
ADDRESS, ADDRESS_6 = ip_network("10.65.0.1/32"), ip_network("fd00::1/128")
FLOATING = ip_network("192.0.2.1/32")
SETTINGS = RenderSettings(
    ipv4_route_priority=1000,
    ipv6_route_priority=2000,
    ipv4_elevated_route_priority=100,
    ipv6_elevated_route_priority=200,
)


class Host:
    """A host with two endpoints that have the same addresses."""

    def __init__(self) -> None:
        self.calculation = HostCalculation(HOST)
        self.renderer = Renderer(SETTINGS, self.calculation.state)
        self.first, self.second = self.put(1), self.put(2)
        self.apply()

    def put(self, number: int) -> ResourceKey:
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            node=HOST,
            endpoint=f"port{number}",
            interface_name=f"tap{number}",
            ip_networks=("10.65.0.1/32", "fd00::1/128"),
            mac=f"02:00:00:00:00:0{number}",
            ip_nats=(IpNat(internal_ip="10.65.0.1", external_ip="192.0.2.1"),),
        )
        value = WorkloadEndpoint(metadata=Metadata(name=name, namespace="openstack"), spec=spec)
        key = ResourceKey("WorkloadEndpoint", name, "openstack")
        self.calculation.update(key, value)
        return key

    def remove(self, key: ResourceKey) -> None:
        self.calculation.update(key, None)
        self.apply()

    def apply(self, **priorities: RoutePriority) -> set[object]:
        self.renderer.prioritise({getattr(self, name): p for name, p in priorities.items()})
        return set(self.renderer.apply(self.calculation.flush()).routes)

    def arrivals(self) -> dict[tuple[str, str], bytes]:
        """Return who has arrived, by interface and address."""
        found = self.renderer.desired.arrivals
        return {(key.interface, str(key.address)): mac for key, mac in found.items()}

    def routes(self) -> dict[object, tuple[str, int]]:
        """Return where routes lead while all interfaces are up and the first is the newest."""
        routes = self.renderer.desired.routes
        return {
            to: min(route.candidates, key=lambda each: (each[1], each[0]))
            for to, route in routes.items()
        }


@pytest.fixture
def host() -> Host:
    return Host()


def everywhere(interface: str, metric: int, metric_6: int) -> dict[object, tuple[str, int]]:
    return {
        ADDRESS: (interface, metric),
        ADDRESS_6: (interface, metric_6),
        FLOATING: (interface, metric),
    }


def test_priorities_are_metrics(host: Host) -> None:
    assert host.routes() == everywhere("tap1", 1000, 2000)
    assert host.apply(first=RoutePriority.ELEVATED) == {ADDRESS, ADDRESS_6, FLOATING}
    assert host.routes() == everywhere("tap1", 100, 200)
    assert host.apply(first=RoutePriority.NORMAL) == {ADDRESS, ADDRESS_6, FLOATING}
    assert host.routes() == everywhere("tap1", 1000, 2000)


def test_an_elevated_endpoint_goes_before_others(host: Host) -> None:
    host.apply(second=RoutePriority.ELEVATED)
    assert host.routes()[ADDRESS] == ("tap2", 100)


def test_a_withheld_endpoint_leaves_its_addresses_to_others(host: Host) -> None:
    host.apply(first=RoutePriority.WITHHELD)
    assert host.routes()[ADDRESS] == ("tap2", 1000)
    host.apply(second=RoutePriority.WITHHELD)
    assert host.routes() == {}
    host.apply(first=RoutePriority.NORMAL, second=RoutePriority.NORMAL)
    assert host.routes() == everywhere("tap1", 1000, 2000)


def test_nothing_changes_where_nothing_differs(host: Host) -> None:
    assert not host.apply(first=RoutePriority.NORMAL)
    host.apply(first=RoutePriority.ELEVATED)
    assert not host.apply(first=RoutePriority.ELEVATED)


def test_a_priority_may_be_known_before_its_endpoint_and_outlives_it(host: Host) -> None:
    host.apply(first=RoutePriority.WITHHELD, second=RoutePriority.WITHHELD)
    host.remove(host.first)
    host.put(1)
    host.apply()
    assert host.routes() == {}
    # Whoever decides about priorities says that it is over.
    host.remove(host.first)
    host.apply(first=RoutePriority.NORMAL)
    host.put(1)
    host.apply()
    assert host.routes() == everywhere("tap1", 1000, 2000)


def test_the_kernel_is_told_once_where_an_address_without_a_permanent_entry_has_arrived(
    host: Host,
) -> None:
    assert host.arrivals() == {}
    key = host.second
    host.renderer.prioritise({key: RoutePriority.WITHHELD})
    assert not host.renderer.apply(host.calculation.flush()).arrivals
    host.renderer.prioritise({key: RoutePriority.ELEVATED})
    told = host.renderer.apply(host.calculation.flush()).arrivals
    assert host.arrivals() == {("tap2", "fd00::1"): bytes([2, 0, 0, 0, 0, 2])}
    assert told == host.renderer.desired.arrivals.keys()
    host.put(2)
    assert not host.renderer.apply(host.calculation.flush()).arrivals
    host.apply(second=RoutePriority.NORMAL)
    assert host.arrivals() == {}

"""What is reported about host endpoints, and what the calculation learns of interfaces."""

from __future__ import annotations

from ipaddress import ip_address

from msgspec.structs import replace

from calico_openstack.datamodel.endpoints import HostEndpoint, HostEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.status import EndpointStatus
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.host_endpoints import HostEndpointFollower
from calico_openstack.felix.kernel.interfaces import Interface

PATH = "/calico/felix/v1/host/here/endpoint/"
UP, DOWN, ERROR = (EndpointStatus(status=status) for status in ("up", "down", "error"))


def interface(name: str, *addresses: str, up: bool = True) -> Interface:
    packed = frozenset(map(ip_address, addresses))
    return Interface(name, 2, up, b"\2\0\0\0\0\1", 1500, 0.0, packed)


def put(calculation: HostCalculation, name: str, **spec: object) -> None:
    body = HostEndpointSpec(node="here", **spec)  # type: ignore[arg-type]
    endpoint = HostEndpoint(metadata=Metadata(name=name), spec=body)
    calculation.update(ResourceKey("HostEndpoint", name), endpoint)
    calculation.flush()


def test_status_follows_the_interface() -> None:
    calculation = HostCalculation("here")
    follower = HostEndpointFollower("here", ("tap",), calculation)
    interfaces = {"eth0": interface("eth0", "192.0.2.1")}
    put(calculation, "uplink", interface_name="eth0")
    put(calculation, "all", interface_name="*")
    assert follower.changes(interfaces) == {PATH + "uplink": ERROR, PATH + "all": UP}
    assert follower.follow({"eth0"}, interfaces)
    calculation.flush()
    assert follower.changes(interfaces) == {PATH + "uplink": UP}
    assert not follower.changes(interfaces)
    down = {"eth0": replace(interfaces["eth0"], up=False)}
    assert follower.changes(down) == {PATH + "uplink": DOWN}
    assert follower.follow({"eth0"}, {})
    calculation.update(ResourceKey("HostEndpoint", "all"), None)
    calculation.flush()
    assert follower.changes({}) == {PATH + "uplink": ERROR, PATH + "all": None}


def test_an_endpoint_with_refused_rules_is_not_up() -> None:
    calculation = HostCalculation("here")
    follower = HostEndpointFollower("here", ("tap",), calculation)
    interfaces = {"eth0": interface("eth0"), "eth1": interface("eth1")}
    put(calculation, "one", interface_name="eth0")
    put(calculation, "two", interface_name="eth1")
    put(calculation, "all", interface_name="*")
    assert follower.follow({"eth0"}, interfaces)
    calculation.flush()
    up = {PATH + name: UP for name in ("one", "two", "all")}
    assert follower.changes(interfaces) == up
    assert follower.changes(interfaces, {"tap1"}) == {}
    assert follower.changes(interfaces, {"tap1", "eth0"}) == {PATH + "one": DOWN}
    assert follower.changes(interfaces, {""}) == {PATH + "two": DOWN, PATH + "all": DOWN}
    assert follower.changes(interfaces) == up


def test_addresses_decide_where_no_interface_is_named() -> None:
    calculation = HostCalculation("here")
    follower = HostEndpointFollower("here", ("tap",), calculation)
    put(calculation, "by-address", expected_ips=("192.0.2.1", "2001:db8::1"))
    for address, status in (("192.0.2.1", "up"), ("192.0.2.2", "error"), ("2001:db8::1", "up")):
        interfaces = {"eth7": interface("eth7", address)}
        assert follower.follow({"eth7"}, interfaces)
        calculation.flush()
        assert follower.changes(interfaces) == {PATH + "by-address": EndpointStatus(status=status)}


def test_workloads_are_not_the_hosts_own() -> None:
    calculation = HostCalculation("here")
    follower = HostEndpointFollower("here", ("tap",), calculation)
    put(calculation, "wrong", interface_name="tap1")
    assert not follower.follow({"tap1"}, {"tap1": interface("tap1")})
    calculation.flush()
    assert follower.changes({}) == {PATH + "wrong": ERROR}

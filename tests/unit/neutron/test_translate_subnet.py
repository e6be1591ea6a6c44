"""Subnets become the DHCP agents' values, byte for byte as upstream writes them."""

from __future__ import annotations

import dataclasses

import pytest

from calico_openstack.neutron.translate.facts import HostRoute, SubnetFacts
from calico_openstack.neutron.translate.subnet import route_problems, translate_subnet

V4 = SubnetFacts(
    id="s",
    network_id="60651076-af2a-4c6d-8d64-500b53a4e547",
    cidr="10.65.0.0/24",
    gateway_ip="10.65.0.1",
    dns_servers=("8.8.8.8",),
    host_routes=(HostRoute("11.11.0.0/16", "10.65.0.1"),),
)
V6 = SubnetFacts(id="t", network_id="n", cidr="fd00::/64", gateway_ip=None)


def text(subnet: SubnetFacts) -> str:
    value = translate_subnet(subnet)
    assert value is not None
    return value.encode().decode()


def test_the_bytes_of_an_ipv4_subnet() -> None:
    assert text(V4) == (
        '{"network_id": "60651076-af2a-4c6d-8d64-500b53a4e547", "cidr": "10.65.0.0/24", '
        '"host_routes": [{"destination": "11.11.0.0/16", "nexthop": "10.65.0.1"}], '
        '"gateway_ip": "10.65.0.1", "dns_servers": ["8.8.8.8"]}'
    )


def test_the_bytes_of_a_subnet_without_anything() -> None:
    assert text(V6) == (
        '{"network_id": "n", "cidr": "fd00::/64", "host_routes": [], "gateway_ip": null}'
    )


@pytest.mark.parametrize("mode", ["slaac", "dhcpv6-stateful", "dhcpv6-stateless"])
def test_both_ipv6_modes_are_written(mode: str) -> None:
    subnet = dataclasses.replace(V6, ipv6_ra_mode=mode, ipv6_address_mode=mode)
    assert text(subnet).endswith(f', "ipv6_ra_mode": "{mode}", "ipv6_address_mode": "{mode}"}}')


def test_one_ipv6_mode_alone_is_left_out() -> None:
    assert "ipv6" not in text(dataclasses.replace(V6, ipv6_address_mode="slaac"))


def test_a_subnet_without_dhcp_is_not_served() -> None:
    assert translate_subnet(dataclasses.replace(V4, enable_dhcp=False)) is None


def test_routes_are_sorted_and_dns_servers_keep_their_order() -> None:
    subnet = dataclasses.replace(
        V4,
        dns_servers=("9.9.9.9", "1.1.1.1"),
        host_routes=(HostRoute("12.0.0.0/8", "10.65.0.1"), HostRoute("11.0.0.0/8", "10.65.0.1")),
    )
    value = translate_subnet(subnet)
    assert value is not None
    assert value.dns_servers == ("9.9.9.9", "1.1.1.1")
    assert [route.destination for route in value.host_routes] == ["11.0.0.0/8", "12.0.0.0/8"]


def test_routes_by_others_than_the_gateway_are_told() -> None:
    """The workload sends to them, and its host routes by the destination."""
    assert route_problems(V4) == ()
    other = dataclasses.replace(V4, host_routes=(HostRoute("11.11.0.0/16", "10.65.0.9"),))
    (problem,) = route_problems(other)
    assert str(problem) == (
        "subnet s: host_routes: the host routes packets to 11.11.0.0/16 itself, not by 10.65.0.9"
    )

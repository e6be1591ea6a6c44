"""From the datastore's values to ports and subnets; nothing becomes syntax."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.dhcp import DhcpSubnet, HostRoute
from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.dhcp.dnsmasq import Layout, configuration
from calico_openstack.dhcp.model import Mode
from calico_openstack.dhcp.names import is_domain_name
from calico_openstack.dhcp.reading import (
    FQDN_ANNOTATION,
    NETWORK_ANNOTATION,
    read_port,
    read_subnet,
)
from tests.unit.dhcp.examples import NET, V4, plan


def endpoint(annotations: dict[str, str] | None = None, **spec: Any) -> WorkloadEndpoint:
    values = {
        "endpoint": "9a7e0868-da7a-419e-a7ad-9d37e11091b8",
        "interface_name": "tap9a7e0868-da",
        "mac": "fa:16:3e:28:a9:a4",
        "ip_networks": ("10.65.0.13/32",),
    }
    return WorkloadEndpoint(
        metadata=Metadata(name="x", annotations=annotations or {NETWORK_ANNOTATION: NET}),
        spec=WorkloadEndpointSpec(**values | spec),
    )


def stored(**members: Any) -> DhcpSubnet:
    values = {"network_id": NET, "cidr": "10.65.0.0/24", "gateway_ip": "10.65.0.1"}
    return DhcpSubnet(**values | members)


@pytest.mark.parametrize(
    ("networks", "allowed", "own"),
    [
        (["10.65.0.13/32", "fd5f::d/128"], [], ["10.65.0.13", "fd5f::d"]),
        (["10.65.0.13"], [], ["10.65.0.13"]),
        (["10.65.0.13/32", "10.65.0.200/32"], ["10.65.0.200/32"], ["10.65.0.13"]),
        # A pair that repeats an allocated address comes after it.
        (["10.65.0.13/32", "10.65.0.13/32"], ["10.65.0.13/32"], ["10.65.0.13"]),
        (["10.65.0.13/32", "10.0.0.0/8"], ["10.0.0.0/8"], ["10.65.0.13"]),
        # What is no single address is nothing that DHCP could give.
        (["10.65.0.13/32", "10.0.0.0/8"], [], ["10.65.0.13"]),
        (["10.65.0.13/32", "nonsense"], [], ["10.65.0.13"]),
    ],
)
def test_only_allocated_addresses_count(
    networks: list[str], allowed: list[str], own: list[str]
) -> None:
    read, _ = read_port("k", endpoint(ip_networks=tuple(networks), allowed_ips=tuple(allowed)))

    assert read is not None
    assert read.addresses == tuple(map(ip_address, own))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"endpoint": "a,b"}, "spec.endpoint"),
        ({"endpoint": ".."}, "spec.endpoint"),
        ({"interface_name": "tap\nport=0"}, "spec.interfaceName"),
        ({"interface_name": "tap*"}, "spec.interfaceName"),
        ({"mac": "nonsense"}, "spec.mac"),
    ],
)
def test_what_could_be_syntax_is_refused(spec: dict[str, str], field: str) -> None:
    read, problems = read_port("k", endpoint(**spec))

    assert read is None
    assert [problem.field for problem in problems] == [field]


def test_a_network_is_no_path() -> None:
    for network_id in ("..", "../x", "a/b", "a" * 100):
        assert read_port("k", endpoint({NETWORK_ANNOTATION: network_id}))[0] is None
        assert read_subnet("k", "s", stored(network_id=network_id))[0] is None


def test_a_name_that_is_none_is_left_out() -> None:
    annotations = {NETWORK_ANNOTATION: NET, FQDN_ANNOTATION: "a,b.example.org."}
    read, problems = read_port("k", endpoint(annotations))

    assert read is not None
    assert read.fqdn == ""
    assert len(problems) == 1
    assert read_port("k", endpoint({FQDN_ANNOTATION: "Web.Example.org."}))[0].fqdn == "web.example.org"  # type: ignore[union-attr] # noqa: E501 # fmt: skip


@pytest.mark.parametrize(
    ("ra_mode", "address_mode", "mode"),
    [
        ("slaac", "slaac", Mode.SLAAC),
        ("dhcpv6-stateless", "dhcpv6-stateless", Mode.DHCPV6_STATELESS),
        ("dhcpv6-stateful", "dhcpv6-stateful", Mode.DHCPV6_STATEFUL),
        ("", "", Mode.DHCPV6_STATEFUL),
        ("slaac", "dhcpv6-stateless", Mode.DHCPV6_STATEFUL),
        ("nonsense", "nonsense", Mode.DHCPV6_STATEFUL),
    ],
)
def test_ipv6_modes(ra_mode: str, address_mode: str, mode: Mode) -> None:
    read, problems = read_subnet(
        "k",
        "s",
        stored(
            cidr="fd65::/64",
            gateway_ip="fd65::1",
            ipv6_ra_mode=ra_mode,
            ipv6_address_mode=address_mode,
        ),
    )

    assert read is not None
    assert (read.mode, problems) == (mode, ())


def test_subnets_that_dnsmasq_cannot_serve_are_told() -> None:
    slaac = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    for members in (
        {"cidr": "fd65::/48", "gateway_ip": None},
        {"cidr": "fd65::/80", "gateway_ip": None, **slaac},
        {"cidr": "0.0.0.0/0"},
        {"cidr": "nonsense"},
    ):
        read, problems = read_subnet("k", "s", stored(**members))
        assert read is None
        assert [problem.field for problem in problems] == ["cidr"]


def test_bad_members_cost_only_themselves() -> None:
    read, problems = read_subnet(
        "k",
        "s",
        stored(
            gateway_ip="fd65::1",
            dns_servers=("192.0.2.53", "nonsense", "2001:db8::53", "192.0.2.53"),
            host_routes=(
                HostRoute(destination="10.1.0.0/16", nexthop="10.65.0.9"),
                HostRoute(destination="nonsense", nexthop="10.65.0.9"),
            ),
        ),
    )

    assert read is not None
    assert read.gateway is None
    assert read.dns_servers == (ip_address("192.0.2.53"),)
    assert [str(route.destination) for route in read.routes] == ["10.1.0.0/16"]
    assert [problem.field for problem in problems] == [
        "gateway_ip",
        "dns_servers",
        "dns_servers",
        "host_routes",
    ]


def test_name_servers_may_be_unsaid_or_said_to_be_none() -> None:
    def servers(*texts: str) -> object:
        read, _ = read_subnet("k", "s", stored(dns_servers=texts))
        assert read is not None
        return read.dns_servers

    assert servers() is None
    assert servers("0.0.0.0") == ()


def test_domain_names() -> None:
    assert is_domain_name("web")
    assert is_domain_name("a-1.example.org")
    for name in ("", "a..b", "-a", "a_b", "a b", "a/b", "a" * 64, "a." * 130 + "a", "ä"):
        assert not is_domain_name(name)


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_adds_a_line(network_id: str, name: str, interface: str, mac: str) -> None:
    read, _ = read_port(
        "k",
        endpoint(
            {NETWORK_ANNOTATION: network_id, FQDN_ANNOTATION: name},
            interface_name=interface or "tap1",
            mac=mac or "fa:16:3e:28:a9:a4",
        ),
    )
    if read is None:
        return
    for service in plan((read,), V4).services:
        text = configuration(service, Layout("/run", service.role), "nobody")
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
        for lines in service.files.values():
            assert all(line.replace("\t", "").isprintable() for line in lines)

"""Configuration of a top-of-rack router."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from calico_openstack.bgp.extras import Bfd
from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from calico_openstack.bgp.version import BirdVersion
from tests.unit.bgp.birdcheck import fault_of, needs_bird

ROUTER = TorRouter(
    router_id=IPv4Address("172.30.0.254"),
    as_number=64513,
    neighbors=(
        Neighbors(ip_network("172.30.0.0/24"), 64512),
        Neighbors(ip_network("fd30::/64"), 64512),
        Neighbors(ip_address("172.31.0.1"), 65001),
        Neighbors(ip_address("fd31::1"), 65001),
    ),
    advertised=(ip_network("::/0"), ip_network("0.0.0.0/0"), ip_network("203.0.113.0/24")),
    password="secret",
    ttl_security=True,
    bfd=Bfd(),
    log_file="/dev/null",
)


@needs_bird
def test_bird_accepts() -> None:
    assert fault_of(render_tor(ROUTER)) == ""
    assert fault_of(render_tor(TorRouter(IPv4Address("10.0.0.1"), 1, (), transit=True))) == ""


def test_equal_paths_are_merged_by_a_bird_that_loses_no_route_by_it() -> None:
    assert "merge paths on;" in render_tor(ROUTER)
    assert "merge paths on;" not in render_tor(ROUTER, BirdVersion(3, 4, 0))


def test_neighbors() -> None:
    text = render_tor(ROUTER)
    assert "neighbor range 172.30.0.0/24 as 64512;" in text
    assert "neighbor range fd30::/64 as 64512;" in text
    assert "neighbor fd31::1 as 65001;" in text
    assert "protocol bgp host_172_31_0_1 from tor_host4" in text


def test_hosts_learn_what_is_advertised_and_nothing_else() -> None:
    text = render_tor(ROUTER)
    assert "route 203.0.113.0/24 unreachable;" in text
    assert "if (source != RTS_BGP && net = 203.0.113.0/24) then accept;" in text
    assert "if (source = RTS_BGP) then accept;" not in text


def test_an_unusable_password() -> None:
    with pytest.raises(ValueError, match="password"):
        render_tor(TorRouter(IPv4Address("10.0.0.1"), 1, (), password='"'))

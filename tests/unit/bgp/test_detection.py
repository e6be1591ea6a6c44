"""Which address of a host is chosen."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from calico_openstack.bgp.detection import (
    ByCidr,
    DetectionError,
    Family,
    HostInterface,
    choose_address,
    parse_method,
    with_mask,
)

HOST = [
    HostInterface("lo", (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))),
    HostInterface("eth0", (ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64"))),
    HostInterface("eth1", (ip_interface("198.51.100.1/24"), ip_interface("fe80::1/64"))),
    HostInterface("docker0", (ip_interface("172.17.0.1/16"),)),
    HostInterface("bgp-peering", (ip_interface("198.51.100.7/32"),)),
    HostInterface("tap123", (ip_interface("10.65.0.1/32"),)),
    HostInterface("ns-dhcp", (ip_interface("10.65.0.2/24"),)),
]


@pytest.mark.parametrize(
    ("method", "family", "address"),
    [
        ("first-found", 4, "198.51.100.1/24"),
        ("first-found", 6, "2001:db8::1/64"),
        ("interface=eth0", 4, "192.0.2.1/24"),
        ("interface=nothing, eth.*", 4, "198.51.100.1/24"),
        ("interface=docker", 4, "172.17.0.1/16"),
        ("skip-interface=eth1", 4, "192.0.2.1/24"),
        ("cidr=192.0.2.0/24,203.0.113.0/24", 4, "192.0.2.1/24"),
        ("cidr=2001:db8::/32", 6, "2001:db8::1/64"),
    ],
)
def test_methods(method: str, family: Family, address: str) -> None:
    assert choose_address(parse_method(method), HOST, family) == ip_interface(address)


@pytest.mark.parametrize(
    "method", ["interface=eth9", "skip-interface=eth", "cidr=203.0.113.0/24", "can-reach=192.0.2.9"]
)
def test_nothing_qualifies(method: str) -> None:
    with pytest.raises(DetectionError):
        choose_address(parse_method(method), HOST, 4)


def test_the_kernels_choice_gets_the_mask_of_its_interface() -> None:
    method = parse_method("can-reach=192.0.2.9")
    chosen = choose_address(method, HOST, 4, ip_address("192.0.2.1"))
    assert chosen == ip_interface("192.0.2.1/24")


def test_an_address_of_no_interface_stands_alone() -> None:
    assert str(with_mask(ip_address("10.9.9.9"), HOST)) == "10.9.9.9/32"
    assert str(with_mask(ip_address("fd00::9"), HOST)) == "fd00::9/128"


@pytest.mark.parametrize(
    "text", ["nonsense", "interface=", "interface=[", "cidr=nonsense", "first-found=1", "can-reach"]
)
def test_what_is_no_method(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_method(text)


def test_spaces_are_allowed() -> None:
    method = parse_method("cidr= 10.0.0.0/8 , fd00::/8")
    assert isinstance(method, ByCidr)
    assert len(method.networks) == 2

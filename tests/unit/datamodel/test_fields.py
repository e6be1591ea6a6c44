"""Field types that many kinds share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.addresses import is_host_network, parse_address, parse_network
from calico_openstack.datamodel.asnumber import as_number, normalised_as_number
from calico_openstack.datamodel.dscp import dscp_value
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.endpoints import is_mac, normalised_mac
from calico_openstack.datamodel.ports import PortRange, normalised_port, parse_port
from calico_openstack.datamodel.protocols import normalised_protocol, protocol_number


@pytest.mark.parametrize(
    ("value", "written", "number"),
    [
        ("tcp", "TCP", 6),
        ("UDP", "UDP", 17),
        ("icmpV6", "ICMPv6", 58),
        ("udplite", "UDPLite", 136),
        ("SCTP", "SCTP", 132),
        ("Icmp", "ICMP", 1),
        (6, 6, 6),
        ("50", 50, 50),
        ("0", 0, 0),
        (255, 255, 255),
        (256, 256, None),
        (-1, -1, None),
        ("", "", None),
        ("igmp", "igmp", None),
        ("9" * 5000, "9" * 5000, None),
        ("٣", "٣", None),
    ],
)
def test_protocols(value: int | str, written: int | str, number: int | None) -> None:
    assert normalised_protocol(value) == written
    assert protocol_number(value) == number


@pytest.mark.parametrize(
    ("value", "port", "written"),
    [
        (80, PortRange(80, 80), 80),
        ("80", PortRange(80, 80), 80),
        ("80:80", PortRange(80, 80), 80),
        ("080:090", PortRange(80, 90), "80:90"),
        ("0:65535", PortRange(0, 65535), "0:65535"),
        ("http", "http", "http"),
        ("a1-b.c_d", "a1-b.c_d", "a1-b.c_d"),
        (65536, None, 65536),
        (-1, None, -1),
        ("90:80", None, "90:80"),
        ("1:65536", None, "1:65536"),
        ("8:None", None, "8:None"),
        ("", None, ""),
        ("1:2:3", None, "1:2:3"),
        ("a" * 129, None, "a" * 129),
    ],
)
def test_ports(value: int | str, port: PortRange | str | None, written: int | str) -> None:
    assert parse_port(value) == port
    assert normalised_port(value) == written


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (64512, 64512),
        ("64512", 64512),
        ("1.0", 65536),
        ("65535.65535", 4294967295),
        (4294967295, 4294967295),
        (4294967296, None),
        (-1, None),
        ("65536.0", None),
        ("1.2.3", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_as_numbers(value: int | str, number: int | None) -> None:
    assert as_number(value) == number
    assert normalised_as_number(value) == (value if number is None else number)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("EF", 46),
        ("DF", 0),
        ("AF11", 10),
        ("AF23", 22),
        ("AF43", 38),
        ("CS0", 0),
        ("CS6", 48),
        (63, 63),
        ("63", 63),
        (64, None),
        (-1, None),
        ("CS7", None),
        ("LE", None),
        ("ef", None),
        ("", None),
        ("100", None),
    ],
)
def test_code_points(value: int | str, number: int | None) -> None:
    assert dscp_value(value) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("250ms", 0.25),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("0", 0.0),
        ("0s", 0.0),
        ("-1s", -1.0),
        ("+1s", 1.0),
        ("", None),
        ("-", None),
        ("30", None),
        ("s", None),
        ("1 s", None),
        ("1d", None),
        ("1s1", None),
        (".s", None),
        ("999999999999h", None),
        ("1s" * 100000, None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("fa:16:3e:11:22:33", "fa:16:3e:11:22:33"),
        ("FA:16:3E:11:22:33", "fa:16:3e:11:22:33"),
        ("fa-16-3e-11-22-33", "fa:16:3e:11:22:33"),
        ("fa16.3e11.2233", "fa:16:3e:11:22:33"),
        ("fa:16:3e:11:22", None),
        ("fa:16-3e:11:22:33", None),
        ("fa163e112233", None),
        ("", None),
        ("fa:16:3e:11:22:33\n", None),
    ],
)
def test_mac_addresses(text: str, written: str | None) -> None:
    assert is_mac(text) == (written is not None)
    assert normalised_mac(text) == (written or text)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "0.0.0.0", "255.255.255.255", "fd00::1", "::", "1:2:3:4:5:6:7:8", "::1"]
)
def test_addresses(text: str) -> None:
    assert str(parse_address(text)) == text
    assert is_host_network(text)
    assert is_host_network(text + ("/128" if ":" in text else "/32"))
    network = parse_network(text)
    assert network is not None
    assert network.num_addresses == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.01",
        "10.0.0.1 ",
        "10.0.0.1\n",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "0::ffff:a00:1",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        ":::",
        "1" * 100_000,
        "fd00::12345",
        "10.0.0.0/24/32",
    ],
)
def test_no_addresses(text: str) -> None:
    assert parse_address(text) is None
    assert not is_host_network(text)
    assert not is_host_network(text + ("/128" if ":" in text else "/32"))


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/", "fd00::/129", "10.0.0.0/+8", "/8"]
)
def test_no_networks(text: str) -> None:
    assert parse_network(text) is None


def test_networks_may_be_asked_to_be_masked() -> None:
    assert str(parse_network("10.0.0.7/8")) == "10.0.0.0/8"
    assert parse_network("10.0.0.7/8", strict=True) is None
    assert str(parse_network("fd00::/8", strict=True)) == "fd00::/8"


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_every_address_is_an_address(address: object) -> None:
    text = str(address)
    parsed = parse_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    assert parsed == (None if mapped else address)
    assert is_host_network(text) == (mapped is None)


@given(st.text("0123456789abcdef:./", max_size=24))
def test_host_networks_are_those_that_parse(text: str) -> None:
    network = parse_network(text)
    single = network is not None and network.num_addresses == 1
    # Leading zeros of a prefix length are the one difference: nobody writes them.
    assert is_host_network(text) == single or "/0" in text

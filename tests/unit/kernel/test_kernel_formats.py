"""Routes, neighbours, flows and sysctls: conversion without a kernel."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from calico_openstack.felix.kernel.conntrack import (
    Flow,
    FlowTuple,
    encode_deletion,
    parse_flow,
)
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.kernel.sysctls import SysctlDriver, interface_settings
from calico_openstack.felix.render.dataplane import InterfaceSettings
from calico_openstack.netlink.protocol import attribute, split
from calico_openstack.netlink.rtnetlink import (
    NeighbourEntry,
    RouteAttributes,
    RouteKey,
    encode_neighbour,
    encode_route,
    encode_route_removal,
    parse_link,
    parse_neighbour,
    parse_route,
)


@pytest.mark.parametrize("destination", ["10.65.0.1/32", "fd00::1/128", "10.0.0.0/8"])
def test_routes_survive(destination: str) -> None:
    network = ip_network(destination)
    source = ip_address("192.0.2.1") if network.version == 4 else ip_address("2001:db8::1")
    key = RouteKey(network, 1024, 7)
    route = RouteAttributes(3, source)
    (made,) = split(encode_route(key, route, 1))
    assert parse_route(made.body) == (key, route)
    (removed,) = split(encode_route_removal(key, 3, 1))
    assert parse_route(removed.body) == (key, RouteAttributes(3))


def test_routes_of_other_kinds_are_none_of_ours() -> None:
    header = struct.Struct("=BBBBBBBBI")
    body = attribute(1, bytes(4)) + attribute(4, struct.pack("=I", 7))
    main, unicast, blackhole, cloned = 254, 1, 6, 0x200
    assert parse_route(header.pack(2, 32, 0, 0, main, 3, 253, unicast, 0) + body)
    assert parse_route(header.pack(2, 32, 0, 0, 77, 3, 253, unicast, 0) + body) is None
    assert parse_route(header.pack(2, 32, 0, 0, main, 3, 253, blackhole, 0) + body) is None
    assert parse_route(header.pack(2, 32, 0, 0, main, 3, 253, unicast, cloned) + body) is None


@pytest.mark.parametrize("address", ["10.65.0.1", "fd00::1"])
def test_neighbours_survive(address: str) -> None:
    entry = NeighbourEntry(7, ip_address(address))
    (made,) = split(encode_neighbour(entry, b"\2\0\0\0\0\1", 1))
    assert parse_neighbour(made.body) == (entry, b"\2\0\0\0\0\1")


def test_a_port_that_leaves_a_bridge_does_not_vanish() -> None:
    name = attribute(3, b"tap1\0")
    af_bridge = 7
    assert parse_link(struct.pack("=BxHiII", 0, 1, 9, 0x10043, 0) + name)
    assert parse_link(struct.pack("=BxHiII", af_bridge, 1, 9, 0x10043, 0) + name) is None


@pytest.mark.parametrize(
    ("destination", "protocol", "interface", "strict", "lax"),
    [
        ("10.0.0.1/32", 80, "eth0", True, True),
        ("10.0.0.1/32", 80, None, True, True),
        ("10.0.0.1/32", 3, "tap1", True, True),
        ("10.0.0.1/32", 4, "tap1", True, False),
        ("10.0.0.1/32", 12, "tap1", True, False),
        ("10.0.0.1/32", 3, "eth0", False, False),
        ("10.0.0.1/32", 12, "eth0", False, False),
        ("fe80::/64", 2, "tap1", False, False),
        ("ff00::/8", 2, "tap1", False, False),
    ],
)
def test_ownership_of_routes(
    destination: str, protocol: int, interface: str | None, strict: bool, lax: bool
) -> None:
    key, route = RouteKey(ip_network(destination), 0, 7), RouteAttributes(protocol)
    for remove_external, expected in ((True, strict), (False, lax)):
        ownership = RouteOwnership(lambda name: name.startswith("tap"), remove_external, 3)
        assert ownership.owns(key, route, interface) is expected


FLOWS = [
    FlowTuple(ip_address("10.0.0.1"), ip_address("10.0.0.2"), 6, 40000, 80),
    FlowTuple(ip_address("fd00::1"), ip_address("fd00::2"), 17, 1, 65535),
    FlowTuple(
        ip_address("10.0.0.1"), ip_address("10.0.0.2"), 1, icmp_type=8, icmp_code=0, icmp_id=77
    ),
    FlowTuple(
        ip_address("fd00::1"), ip_address("fd00::2"), 58, icmp_type=128, icmp_code=0, icmp_id=1
    ),
]


@pytest.mark.parametrize("original", FLOWS, ids=lambda flow: f"{flow.protocol}")
@pytest.mark.parametrize("zone", [0, 7])
def test_flow_tuples_survive(original: FlowTuple, zone: int) -> None:
    flow = Flow(original, original, zone, status=0, id=0xDEADBEEF)
    (request,) = split(encode_deletion(flow, 1))
    # The kernel's listing has the reply's tuple in the same form under another number.
    start = 4
    length = struct.unpack_from("=H", request.body, start)[0]
    reply = struct.pack("=HH", length, 0x8002) + request.body[start + 4 : start + length]
    assert parse_flow(request.body + reply) == flow


def test_flow_without_tuple_is_none() -> None:
    assert parse_flow(b"\2\0\0\0") is None


def test_settings_follow_the_families() -> None:
    def paths(wanted: InterfaceSettings) -> list[str]:
        return [setting.path for setting in interface_settings("tap1", wanted, "2")]

    both = paths(InterfaceSettings(ipv4=True, ipv6=True))
    assert len(both) == 8
    assert paths(InterfaceSettings(ipv4=False, ipv6=False)) == ["net/ipv6/conf/tap1/accept_ra"]
    assert "net/ipv4/conf/tap1/rp_filter" not in paths(InterfaceSettings(ipv4=False, ipv6=True))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    for path in (
        "net/ipv4/conf/default/rp_filter",
        "net/ipv4/conf/tap1/route_localnet",
        "net/ipv4/conf/tap1/proxy_arp",
        "net/ipv4/conf/tap1/forwarding",
        "net/ipv4/conf/tap1/rp_filter",
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("2\n" if "default" in path else "0\n")
    return tmp_path


def test_only_differences_are_written(proc: Path) -> None:
    driver = SysctlDriver(proc)
    wanted = InterfaceSettings(ipv4=True, ipv6=False)
    (failure,) = driver.set_interface("tap1", wanted)
    # Missing: accept_ra is ignored, proxy_delay reported, the rest is there.
    assert "proxy_delay" in failure.path
    assert not failure.fatal
    assert (proc / "net/ipv4/conf/tap1/rp_filter").read_text().split() == ["2"]
    assert driver.writes == 4
    driver.set_interface("tap1", wanted)
    assert driver.writes == 4


def test_missing_parameters_are_fatal_where_nothing_works_without(proc: Path) -> None:
    failed = SysctlDriver(proc).set_interface("tap1", InterfaceSettings(ipv4=False, ipv6=True))
    assert [failure.fatal for failure in failed] == [True, True]


@pytest.mark.parametrize("name", ["", ".", "..", "../all", "a/b"])
def test_names_that_lead_elsewhere_are_refused(proc: Path, name: str) -> None:
    (failure,) = SysctlDriver(proc).set_interface(name, InterfaceSettings(ipv4=True, ipv6=True))
    assert failure.fatal

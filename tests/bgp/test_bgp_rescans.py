"""Scans that BIRD 3 needs before it writes some routes to the kernel. Needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.bgp.rescans import Rescans, RouteChanges
from calico_openstack.netlink.protocol import NETLINK_ROUTE, NetlinkSocket
from calico_openstack.netlink.rtnetlink import RtGroup
from tests.bgp.fabric import bird_3, bird_routes, birdc
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import Process, eventually

pytestmark = needs_root

# Between the first scan and the next one is an hour.
_CONFIGURATION = """
router id 10.0.0.1;
protocol device { }
protocol kernel calico_kernel4 {
  learn;
  scan time 3600;
  metric 600;
  ipv4 { import all; export all; };
}
protocol kernel calico_kernel6 { learn; scan time 3600; ipv6 { import all; }; }
protocol static workload1 { ipv4; route 10.9.9.1/32 via 10.0.0.2; }
protocol static workload2 { ipv4; disabled; route 10.9.9.2/32 via 10.0.0.3; }
"""


@pytest.fixture
def host() -> Iterator[NetworkNamespace]:
    """A host with an interface."""
    with NetworkNamespace("host") as namespace, NetworkNamespace("beyond") as beyond:
        veth(namespace, "eth0", beyond, "eth0")
        namespace.ip("address", "add", "10.0.0.1/24", "dev", "eth0")
        namespace.ip("address", "add", "fd77::1/64", "dev", "eth0", "nodad")
        yield namespace


@pytest.mark.skipif(not bird_3(), reason="BIRD 2 writes every route at once")
def test_a_new_route_reaches_the_kernel_without_a_regular_scan(
    host: NetworkNamespace, tmp_path: Path
) -> None:
    configuration, control = tmp_path / "bird.conf", tmp_path / "bird.ctl"
    configuration.write_text(_CONFIGURATION)
    command = ["bird", "-f", "-c", configuration, "-s", control, "-P", tmp_path / "bird.pid"]
    process = Process(command, log=tmp_path / "bird.log", prefix=host.command([]))
    process.wait_until(control.exists, "control socket")
    rescans = Rescans(control)

    def scan() -> bool:
        return "reloading" in birdc(control, "reload", "filters", "in", "calico_kernel4")

    try:
        with host.entered():
            rescans.start()
        # Scans that see the route.
        eventually(lambda: scan() and set(bird_routes(host, "-4")) == {"10.9.9.1"}, 20)
        scan()
        for there, gone in (("workload2", "workload1"), ("workload1", "workload2")) * 3:
            birdc(control, "disable", gone)
            eventually(lambda: not bird_routes(host, "-4"), 20)
            birdc(control, "enable", there)
            eventually(lambda: len(bird_routes(host, "-4")) == 1, 20)
    finally:
        rescans.stop()
        process.kill()


def test_only_changes_that_free_a_number_count(host: NetworkNamespace) -> None:
    with host.entered():
        socket = NetlinkSocket(NETLINK_ROUTE, groups=(RtGroup.IPV4_ROUTE, RtGroup.IPV6_ROUTE))
    changes = RouteChanges()

    def after(family: str, *change: str, protocol: str = "bird") -> set[int]:
        host.ip(family, "route", *change, "dev", "eth0", "proto", protocol, "metric", "600")
        return changes.take(socket.notifications())

    try:
        assert not after("-4", "add", "10.9.9.1", "via", "10.0.0.2")
        assert not after("-6", "add", "fd65::1", "via", "fd77::2")
        assert not after("-6", "replace", "fd65::1", "via", "fd77::2")
        assert after("-4", "replace", "10.9.9.1", "via", "10.0.0.3") == {4}
        assert after("-6", "replace", "fd65::1", "via", "fd77::3") == {6}
        assert not after("-6", "replace", "fd65::1", "via", "fd77::3")
        assert after("-4", "delete", "10.9.9.1") == {4}
        assert after("-6", "delete", "fd65::1") == {6}
        assert not after("-4", "add", "10.9.9.1", "via", "10.0.0.2", protocol="static")
        assert not after("-4", "delete", "10.9.9.1", protocol="static")
        assert changes.take([None]) == {4, 6}
    finally:
        socket.close()

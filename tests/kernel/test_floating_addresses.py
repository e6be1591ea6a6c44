"""Floating addresses and outgoing translation with real packets, through everything but etcd.

A host with two workloads and an uplink to a router that knows the outside. Who a packet seems to
come from is told by the program that receives it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.datamodel.endpoints import (
    HostEndpoint,
    HostEndpointSpec,
    IpNat,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render import TABLES, Renderer, RenderSettings
from tests.kernel.conftest import NamespaceFactory
from tests.kernel.host import HOST_MAC, eventually, workload_mac
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import Process

pytestmark = needs_root

HOST = "here"
FLOATING = {4: "198.51.100.7", 6: "2001:db8:f::7"}
OUTSIDE = {4: "203.0.113.1", 6: "2001:db8::1"}
UPLINK = {4: "192.0.2.1", 6: "2001:db8:1::1"}
LINK_LOCAL = "fe80::ecee:eeff:feee:eeee"

# Says of each datagram where it came from, and answers.
_ECHO = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", 7000))
    print("ready", flush=True)
    while True:
        data, sender = server.recvfrom(100)
        server.sendto(sender[0].removeprefix("::ffff:").encode(), sender)
"""
# Sends from one port to one destination; says what comes back, line by line, "-" for nothing.
_ASK = """
import socket, sys
family, bound = (socket.AF_INET6, "::") if ":" in sys.argv[1] else (socket.AF_INET, "0.0.0.0")
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.bind((bound, int(sys.argv[2])))
    client.settimeout(0.4)
    try:
        client.sendto(b"?", (sys.argv[1], 7000))
        data, sender = client.recvfrom(100)
        print(data.decode(), sender[0])
    except OSError:
        print("-")
"""


class Site:
    """The host with Felix's parts in it, workloads 1 and 2, and the outside."""

    def __init__(self, make: NamespaceFactory, directory: Path, **settings: object) -> None:
        self.host, self.outside = make("host"), make("outside")
        self.host.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        self.outside.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        veth(self.host, "eth0", self.outside, "eth0", left_mac=HOST_MAC, right_mac=workload_mac(99))
        self.host.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
        self.host.ip("addr", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
        self.outside.ip("addr", "add", "192.0.2.254/24", "dev", "eth0")
        self.outside.ip("addr", "add", "2001:db8:1::fe/64", "dev", "eth0", "nodad")
        self.host.ip("route", "add", "default", "via", "192.0.2.254")
        self.host.ip("-6", "route", "add", "default", "via", "2001:db8:1::fe")
        self.outside.ip("link", "set", "lo", "up")
        self.outside.ip("addr", "add", OUTSIDE[4], "dev", "lo")
        self.outside.ip("addr", "add", OUTSIDE[6], "dev", "lo", "nodad")
        # Whatever it answers, it answers as that.
        self.outside.ip("route", "replace", "192.0.2.0/24", "dev", "eth0", "src", OUTSIDE[4])
        link = ("2001:db8:1::/64", "dev", "eth0")
        self.outside.ip("-6", "route", "replace", *link, "src", OUTSIDE[6], "metric", "1")
        for net in ("198.51.100.0/24", "10.65.0.0/24"):
            self.outside.ip("route", "add", net, "via", "192.0.2.1", "src", OUTSIDE[4])
        for net in ("2001:db8:f::/64", "fd00::/64"):
            self.outside.ip("-6", "route", "add", net, "via", "2001:db8:1::1", "src", OUTSIDE[6])
        self.workloads = {number: self._plug(make(f"vm{number}"), number) for number in (1, 2)}
        self.processes: list[Process] = []
        for number, space in (*self.workloads.items(), (99, self.outside)):
            log = directory / f"echo{number}"
            process = Process([sys.executable, "-c", _ECHO], log=log, prefix=space.command(()))
            process.wait_until(lambda p=process: "ready" in p.output(), "echo")  # type: ignore[misc]
            self.processes.append(process)
        self._settings = RenderSettings(**settings)  # type: ignore[arg-type]
        self.resources: dict[ResourceKey, Resource] = {}
        self.restart()

    def _plug(self, workload: NetworkNamespace, number: int) -> NetworkNamespace:
        macs = {"left_mac": HOST_MAC, "right_mac": workload_mac(number)}
        veth(self.host, f"tap{number}", workload, "eth0", **macs)
        workload.ip("addr", "add", f"10.65.0.{number}/32", "dev", "eth0")
        workload.ip("route", "add", "169.254.1.1", "dev", "eth0")
        workload.ip("route", "add", "default", "via", "169.254.1.1")
        workload.ip("addr", "add", f"fd00::{number}/128", "dev", "eth0", "nodad")
        workload.ip("-6", "route", "add", "default", "via", LINK_LOCAL, "dev", "eth0")
        return workload

    def restart(self) -> None:
        """Begin anew, with what is stored, knowing nothing of the kernel."""
        self.calculation = HostCalculation(HOST)
        self.renderer = Renderer(self._settings, self.calculation.state)
        ownership = RouteOwnership(
            lambda name: name.startswith("tap"), remove_external=True, device_protocol=3
        )
        with self.host.entered():
            self.dataplane = Dataplane(TABLES, ownership, time.monotonic())
        for key, value in self.resources.items():
            self.calculation.update(key, value)

    def store(self, key: ResourceKey, value: Resource | None) -> None:
        """Store a resource, None: remove it."""
        self.resources.pop(key, None)
        if value is not None:
            self.resources[key] = value
        self.calculation.update(key, value)

    def put(self, number: int, *floating: int) -> None:
        """Store workload *number*, open to all, with the floating addresses of these versions."""
        own = {4: f"10.65.0.{number}", 6: f"fd00::{number}"}
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            endpoint=f"port{number}",
            node=HOST,
            interface_name=f"tap{number}",
            mac=workload_mac(number),
            ip_networks=tuple(own.values()),
            ip_nats=tuple(IpNat(internal_ip=own[v], external_ip=FLOATING[v]) for v in floating),
            profiles=("projectcalico-default-allow",),
        )
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        metadata = Metadata(name=name, namespace="openstack")
        key = ResourceKey("WorkloadEndpoint", name, "openstack")
        self.store(key, WorkloadEndpoint(metadata=metadata, spec=spec))

    def apply(self) -> None:
        delta = self.renderer.apply(self.calculation.flush())
        with self.host.entered():
            self.dataplane.read_notifications(time.monotonic())
            self.dataplane.apply(self.renderer.desired, delta, time.monotonic())
        assert self.dataplane.failures == ()

    def close(self) -> None:
        self.dataplane.close()
        for process in self.processes:
            process.stop()


def ask(source: NetworkNamespace, target: str, port: int = 0) -> str:
    """Return as whom *target* sees the question, and who answers; "-" without an answer."""
    for _ in range(3):
        arguments = (sys.executable, "-c", _ASK, target, str(port))
        answer = source.run(*arguments).stdout.strip()
        if answer != "-":
            break
    return answer


@pytest.fixture
def site(new_namespace: NamespaceFactory, tmp_path: Path) -> Iterator[Site]:
    made = Site(new_namespace, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("version", [4, 6])
def test_a_floating_address(site: Site, version: int) -> None:
    own = {n: f"10.65.0.{n}" if version == 4 else f"fd00::{n}" for n in (1, 2)}
    floating, outside = FLOATING[version], OUTSIDE[version]
    site.put(1, version)
    site.put(2)
    site.apply()
    # From outside, from another workload, from the host, and from itself: a hairpin.
    assert ask(site.outside, floating) == f"{outside} {floating}"
    assert ask(site.workloads[2], floating) == f"{own[2]} {floating}"
    assert ask(site.host, floating).endswith(f" {floating}")
    assert ask(site.workloads[1], floating) == f"{floating} {floating}"
    # Its own traffic keeps its own address.
    assert ask(site.workloads[1], outside) == f"{own[1]} {outside}"
    routes = site.host.ip(f"-{version}", "route", "show", "dev", "tap1")
    assert floating in routes


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("restarted", [False, True])
def test_flows_end_when_it_leads_elsewhere(site: Site, version: int, restarted: bool) -> None:
    floating, outside = FLOATING[version], OUTSIDE[version]
    site.put(1, version)
    site.put(2)
    site.apply()
    assert ask(site.outside, floating, 4000) == f"{outside} {floating}"
    assert ask(site.outside, floating.replace("7", "8"), 4001) == "-"
    (flow,) = site.dataplane.conntrack.flows_to([*site.renderer.desired.translations])
    if restarted:
        site.dataplane.close()
        site.restart()
    # It moves to the other workload: the same flow, from the same port, is answered by that one.
    site.put(1)
    site.put(2, version)
    site.apply()
    flows = [*site.dataplane.conntrack.flows_to([flow.original.destination])]
    assert all(each.reply.source != flow.reply.source for each in flows)
    assert ask(site.outside, floating, 4000) == f"{outside} {floating}"
    (moved,) = site.dataplane.conntrack.flows_to([flow.original.destination])
    assert moved.reply.source != flow.reply.source
    # What leads to where it should is left alone, by a second look at it too.
    site.dataplane.close()
    site.restart()
    site.apply()
    assert [*site.dataplane.conntrack.flows_to([flow.original.destination])] == [moved]
    # It goes: no flow is left, and nobody answers.
    if restarted:
        site.dataplane.close()
        site.restart()
    site.put(2)
    site.apply()
    assert eventually(lambda: not [*site.dataplane.conntrack.flows_to([flow.original.destination])])
    assert ask(site.outside, floating, 4000) == "-"


def test_policy_sees_the_internal_address(site: Site) -> None:
    # Without a profile nothing is allowed to it.
    site.put(1, 4)
    (key,) = site.resources
    value = site.resources[key]
    assert isinstance(value, WorkloadEndpoint)
    fields = {name: getattr(value.spec, name) for name in value.spec.__struct_fields__}
    closed = WorkloadEndpointSpec(**{**fields, "profiles": ()})
    site.store(key, WorkloadEndpoint(metadata=value.metadata, spec=closed))
    site.apply()
    assert ask(site.outside, FLOATING[4]) == "-"
    assert ask(site.workloads[1], FLOATING[4]) == "-"
    site.store(key, value)
    site.apply()
    assert ask(site.outside, FLOATING[4]) == f"{OUTSIDE[4]} {FLOATING[4]}"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("interface", ["eth0", "*"])
def test_the_host_reaches_its_workload_whatever_policy_it_has(
    site: Site, version: int, interface: str
) -> None:
    site.put(1, version)
    spec = HostEndpointSpec(node=HOST, interface_name=interface)
    key = ResourceKey("HostEndpoint", "closed")
    site.calculation.update_interfaces({"eth0": frozenset(), "lo": frozenset()})
    site.store(key, HostEndpoint(metadata=Metadata(name="closed"), spec=spec))
    site.apply()
    floating = FLOATING[version]
    assert ask(site.host, OUTSIDE[version]) == "-"
    assert ask(site.host, floating).endswith(f" {floating}")


@pytest.mark.parametrize("version", [4, 6])
def test_masquerading(site: Site, version: int) -> None:
    outside = OUTSIDE[version]
    own = {n: f"10.65.0.{n}" if version == 4 else f"fd00::{n}" for n in (1, 2)}
    site.put(1)
    site.put(2)
    site.apply()
    assert ask(site.workloads[1], outside) == f"{own[1]} {outside}"
    cidr = "10.65.0.0/24" if version == 4 else "fd00::/64"
    spec = IPPoolSpec(cidr=cidr, nat_outgoing=True)
    key = ResourceKey("IPPool", "pool")
    site.store(key, IPPool(metadata=Metadata(name="pool"), spec=spec))
    site.apply()
    assert ask(site.workloads[1], outside) == f"{UPLINK[version]} {outside}"
    assert ask(site.workloads[1], own[2]) == f"{own[1]} {own[2]}"
    site.store(key, None)
    site.apply()
    assert ask(site.workloads[1], outside) == f"{own[1]} {outside}"

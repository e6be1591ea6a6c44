"""What the real kernel does with real packets, against what the policy evaluator says.

Random clusters on one host with six workload interfaces and one to the outside. Frames are sent and
received on packet sockets: no protocol stack of a workload answers or interferes.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from msgspec.structs import replace

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostCalculation, LocalEndpoint
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render import TABLES, Renderer, RenderSettings
from calico_openstack.felix.render.settings import OpenPort
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Packet
from calico_openstack.policy.passage import AlwaysOpen, Host, HostRules, Place, passage
from tests.kernel.conftest import NamespaceFactory
from tests.support import frames
from tests.support.clusters import (
    ADDRESSES_4,
    ADDRESSES_6,
    HOST,
    PORTS,
    ClusterGenerator,
    Value,
)
from tests.support.netns import NetworkNamespace, needs_root, veth

pytestmark = needs_root

WORKLOADS = 6
UPLINK = "eth0"
HOST_MAC = "ee:ee:ee:ee:ee:ee"
WORKLOAD_MAC = "fa:16:3e:00:00:01"
ETH_P_ALL = 3
UDP = 17
# A peer of the host, and the host.
TO_HOST = {4: ("192.0.2.1", "192.0.2.254"), 6: ("2001:db8::1", "2001:db8::fe")}
UPLINK_ADDRESSES = {
    UPLINK: frozenset(map(frames.packed, ("192.0.2.254", "2001:db8::fe"))),
    "lo": frozenset(map(frames.packed, ("127.0.0.1", "::1"))),
}
OPEN_PORT = OpenPort(6, None, 22)
SETTINGS = RenderSettings(failsafe_inbound=(OPEN_PORT,))
RULES = HostRules(
    metadata=(frames.packed("127.0.0.1"), 8775), open_inbound=(AlwaysOpen(*OPEN_PORT),)
)
# The last frame sent arrives long before this; what is late makes the test fail, not pass.
QUIET = 0.2
# How often to look again for what should have arrived.
PATIENCE = 10


@dataclass(slots=True)
class Bench:
    """The host under test, and a packet socket at the far end of each of its interfaces."""

    namespace: NetworkNamespace
    calculation: HostCalculation
    renderer: Renderer
    dataplane: Dataplane
    sockets: dict[str, socket.socket]
    resources: dict[ResourceKey, Value] = field(default_factory=dict)

    def update(self, batch: list[tuple[ResourceKey, Value | None]]) -> None:
        # What leaves masqueraded pools could not be recognised by its source.
        for key, value in (each for each in batch if each[0].kind != "IPPool"):
            self.calculation.update(key, value)
            self.resources.pop(key, None)
            if value is not None:
                self.resources[key] = value
        delta = self.renderer.apply(self.calculation.flush())
        with self.namespace.entered():
            self.dataplane.apply(self.renderer.desired, delta, time.monotonic())
        assert self.dataplane.failures == ()
        self.namespace.run("conntrack", "-F")

    def receive(self) -> dict[str, list[bytes]]:
        """Return all frames that arrive until nothing does any more."""
        found: dict[str, list[bytes]] = {name: [] for name in self.sockets}
        names = {one.fileno(): name for name, one in self.sockets.items()}
        while ready := select.select(list(names), [], [], QUIET)[0]:
            for number in ready:
                found[names[number]].append(self.sockets[names[number]].recv(2048))
        return found


@pytest.fixture
def bench(new_namespace: NamespaceFactory) -> Iterator[Bench]:
    host = new_namespace("host")
    host.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
    # Connection tracking takes UDP-Lite's checksum for UDP's, and then the packet for invalid.
    host.write_sysctl("net/netfilter/nf_conntrack_checksum", "0")
    with ExitStack() as stack:
        sockets = {}
        for name in (UPLINK, *(f"tap{n}" for n in range(WORKLOADS))):
            far = new_namespace(name)
            far.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
            veth(host, name, far, "eth0", left_mac=HOST_MAC, right_mac=WORKLOAD_MAC)
            # Only to answer neighbour discovery: without a route nothing else is answered.
            for address in ADDRESSES_6:
                far.ip("addr", "add", f"{address}/128", "dev", "eth0", "nodad")
            with far.entered():
                one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            one.bind(("eth0", 0))
            sockets[name] = stack.enter_context(one)
        prepare_uplink(host)
        calculation = HostCalculation(HOST)
        calculation.update_interfaces(UPLINK_ADDRESSES)
        renderer = Renderer(SETTINGS, calculation.state)
        ownership = RouteOwnership(
            lambda name: name.startswith("tap"), remove_external=True, device_protocol=3
        )
        with host.entered():
            dataplane = Dataplane(TABLES, ownership, time.monotonic())
        stack.callback(dataplane.close)
        yield Bench(host, calculation, renderer, dataplane, sockets)


def prepare_uplink(host: NetworkNamespace) -> None:
    host.ip("addr", "add", "192.0.2.254/24", "dev", UPLINK)
    host.ip("addr", "add", "2001:db8::fe/64", "dev", UPLINK, "nodad")
    for gateway in ("192.0.2.1", "2001:db8::1"):
        host.ip("neigh", "add", gateway, "lladdr", WORKLOAD_MAC, "dev", UPLINK)
        host.ip("route", "add", "default", "via", gateway)


@dataclass(frozen=True, slots=True)
class Shot:
    """A packet, where it enters, where it must come out if it passes, and whether it does.

    It is *sent* to a floating address where that is not the one at which it arrives.
    """

    sent: Packet
    packet: Packet
    tag: bytes
    enters: str
    leaves: str
    passes: bool


def shots(bench: Bench, generator: ClusterGenerator, count: int) -> list[Shot]:
    """Draw packets of distinct flows, and say what must become of each."""
    host = Cluster(bench.resources).host(HOST, UPLINK_ADDRESSES, RULES)
    endpoints = bench.calculation.state.endpoints
    by_interface = {endpoint.interface: endpoint for endpoint in endpoints.values()}
    result: list[Shot] = []
    seen: set[object] = set()
    for _ in range(count):
        packet = sent = generator.packet()
        if floating := floating_of(bench, packet):
            sent = replace(packet, destination=generator.random.choice(floating))
        # Conntrack calls ICMP invalid that does not begin a flow; replies are no new flows.
        if packet.icmp_type not in (None, 8 if packet.ip_version == 4 else 128):
            continue
        if flow_of(packet) in seen or packet.source == packet.destination:
            continue
        seen.add(flow_of(packet))
        senders: list[LocalEndpoint | None] = [
            e for e in endpoints.values() if packet.source in e.addresses
        ]
        sender = generator.random.choice(senders or [None])
        route = bench.renderer.desired.routes.get(ip_network(packet.destination))
        # The newest interface has an address that several claim, and the newest has the last name.
        receiver = by_interface[max(name for name, _ in route.candidates)] if route else None
        enters = sender.interface if sender else UPLINK
        leaves = receiver.interface if receiver else UPLINK
        passes = passage(host, sent, enters, leaves, packet).allowed
        tag = f"<{len(result):04}>".encode()
        result.append(Shot(sent, packet, tag, enters, leaves, passes))
    return result


def floating_of(bench: Bench, packet: Packet) -> list[bytes]:
    """Return the floating addresses that lead to a packet's destination."""
    translations = bench.renderer.desired.translations
    return [e.packed for e, i in translations.items() if i.packed == packet.destination]


def flow_of(packet: Packet) -> object:
    """Return what a flow and its replies have in common."""
    ends = sorted(
        ((packet.source, packet.source_port), (packet.destination, packet.destination_port)),
        key=repr,
    )
    return packet.protocol, *ends


def fire(bench: Bench, fired: list[Shot]) -> int:
    """Send all packets and compare; return how many passed."""
    for shot in fired:
        frame = frames.ethernet(WORKLOAD_MAC, HOST_MAC, shot.sent, shot.tag)
        bench.sockets[shot.enters].send(frame)
    # What a packet socket sent it also sees, if the kernel hands it its own frames.
    wanted = [
        {shot.leaves} if shot.passes and shot.leaves != shot.enters else set() for shot in fired
    ]
    came: list[set[str]] = [set() for _ in fired]
    # The first packet to an IPv6 neighbour waits until that was found.
    for _ in range(PATIENCE):
        for name, some in bench.receive().items():
            for seen, shot in zip(came, fired, strict=True):
                arrived = any(frames.arrived(frame, shot.packet, shot.tag) for frame in some)
                if arrived and name != shot.enters:
                    seen.add(name)
        if all(seen >= should for seen, should in zip(came, wanted, strict=True)):
            break
    for seen, should, shot in zip(came, wanted, fired, strict=True):
        assert seen == should, (str(shot.packet), shot)
    return sum(shot.passes for shot in fired)


@pytest.mark.parametrize("seed", range(6))
def test_kernel_does_what_the_evaluator_says(bench: Bench, seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    bench.update([*generator.cluster().items(), generator.host_endpoint()])
    passed = fire(bench, shots(bench, generator, 60))
    for batch in generator.batches()[:5]:
        bench.update([*batch, generator.host_endpoint()])
        passed += fire(bench, shots(bench, generator, 60))
    assert passed


def received_by_host(bench: Bench, generator: ClusterGenerator, host: Host) -> list[Shot]:
    """Draw datagrams to ports of the host that nobody listens on: it answers each that it gets."""
    result = []
    for number in range(40):
        version = generator.random.choice((4, 6))
        source, destination = (ip_address(text).packed for text in TO_HOST[version])
        packet = Packet(source, destination, UDP, 1000 + number, generator.random.choice(PORTS))
        arrives = passage(host, packet, UPLINK, "")
        kind = (3, 3) if version == 4 else (1, 4)  # port unreachable
        answer = Packet(destination, source, {4: 1, 6: 58}[version], None, None, *kind)
        # The answer is known to connection tracking, unless there is an untracked policy.
        leaves = passage(host, answer, "", UPLINK).steps
        refused = any(s.place is Place.UNTRACKED and s.allowed is False for s in leaves)
        if arrives.allowed and not arrives.tracked:
            continue
        tag = f"<{number:04}>".encode()
        passes = arrives.allowed and not refused
        result.append(Shot(packet, packet, tag, UPLINK, UPLINK, passes))
    return result


def tags_from_host(bench: Bench, wanted: dict[bytes, bool]) -> dict[bytes, bool]:
    """Return which tags arrive from the host; those that are *wanted* are waited for."""
    found = dict.fromkeys(wanted, False)
    for _ in range(PATIENCE):
        for frame in bench.receive()[UPLINK]:
            if frame[6:12] == bytes.fromhex("ee" * 6):
                found |= {tag: True for tag in wanted if tag in frame}
        if all(found[tag] for tag in wanted if wanted[tag]):
            break
    return found


@pytest.mark.parametrize("seed", range(8))
def test_what_the_host_receives(bench: Bench, seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    for path in ("ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"):
        bench.namespace.write_sysctl(f"net/{path}", "0")
    # Of all together the kernel lets pass fifty at once, at random somewhat less.
    for path in ("icmp_msgs_per_sec", "icmp_msgs_burst"):
        bench.namespace.write_sysctl(f"net/ipv4/{path}", "10000")
    govern(bench, generator)
    host = Cluster(bench.resources).host(HOST, UPLINK_ADDRESSES, RULES)
    fired = received_by_host(bench, generator, host)
    for shot in fired:
        frame = frames.ethernet(WORKLOAD_MAC, HOST_MAC, shot.sent, shot.tag)
        bench.sockets[UPLINK].send(frame)
    wanted = {shot.tag: shot.passes for shot in fired}
    assert tags_from_host(bench, wanted) == wanted


@pytest.mark.parametrize("seed", range(8))
def test_what_the_host_sends(bench: Bench, seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    govern(bench, generator)
    host = Cluster(bench.resources).host(HOST, UPLINK_ADDRESSES, RULES)
    wanted = {}
    for number in range(40):
        version = generator.random.choice((4, 6))
        peer, own = (ip_address(text) for text in TO_HOST[version])
        packet = Packet(own.packed, peer.packed, UDP, 2000 + number, generator.random.choice(PORTS))
        tag = f"<{number:04}>".encode()
        wanted[tag] = passage(host, packet, "", UPLINK).allowed
        with bench.namespace.entered():
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            with socket.socket(family, socket.SOCK_DGRAM) as one, suppress(PermissionError):
                one.bind((str(own), packet.source_port))
                one.sendto(tag, (str(peer), packet.destination_port))
    assert tags_from_host(bench, wanted) == wanted


def govern(bench: Bench, generator: ClusterGenerator) -> None:
    """Draw a cluster in which the host has endpoints of its own, and many global policies."""
    parts = [generator.policy() for _ in range(12)] + [generator.profile() for _ in range(2)]
    endpoints = [generator.host_endpoint() for _ in range(3)]
    bench.update([*generator.cluster().items(), *parts, *endpoints])


def test_second_apply_and_restart_write_nothing(bench: Bench) -> None:
    generator = ClusterGenerator(Random(1))
    for _ in range(5):
        bench.update(list(generator.cluster().items()))
    written = bench.dataplane.writes
    bench.update([])
    assert bench.dataplane.writes == written
    again = HostCalculation(HOST)
    again.update_interfaces(UPLINK_ADDRESSES)
    renderer = Renderer(SETTINGS, again.state)
    for key, value in bench.resources.items():
        again.update(key, value)
    delta = renderer.apply(again.flush())
    assert renderer.desired == bench.renderer.desired
    ownership = RouteOwnership(
        lambda name: name.startswith("tap"), remove_external=True, device_protocol=3
    )
    with bench.namespace.entered():
        fresh = Dataplane(TABLES, ownership, time.monotonic())
        fresh.apply(renderer.desired, delta, time.monotonic())
    assert (fresh.writes, fresh.failures) == (0, ())
    fresh.close()


def test_foreign_sources_are_dropped(bench: Bench) -> None:
    generator = ClusterGenerator(Random(3))
    bench.update(list(generator.cluster().items()))
    fired = []
    for endpoint in bench.calculation.state.endpoints.values():
        for source in ADDRESSES_4:
            packed = frames.packed(source)
            if packed not in endpoint.addresses:
                packet = Packet(packed, frames.packed("192.0.2.1"), 17, 1000, 53)
                tag = f"<{len(fired):04}>".encode()
                fired.append(Shot(packet, packet, tag, endpoint.interface, UPLINK, passes=False))
    assert fired
    fire(bench, fired)

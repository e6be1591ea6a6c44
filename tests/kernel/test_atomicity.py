"""No packet passes that neither the old nor the new policy allows; none is lost that both allow.

A generator sends first packets of new flows from one workload to another, without pause, while
policies and endpoints change, Felix restarts, and is killed before each of its writes to the
kernel. Four streams for each IP version: one that both policies allow, one that neither does, one
that only the old and one that only the new policy allows. Needs root.

The kernel switches a packet's rules and its set elements each by themselves, so a packet under way
on another processor during the few hundred nanoseconds of a commit may meet the old rules with the
new elements. No programming can avoid that; what both policies allow is therefore allowed here by
rules without sets, and what moves between sets belongs to other streams.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Resource
from calico_openstack.etcd import EtcdClient
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render import TABLES, Renderer, RenderSettings
from calico_openstack.felix.render.dataplane import DataplaneDelta
from tests.kernel.conftest import NamespaceFactory
from tests.support.blaster import (
    Arrivals,
    Stream,
    arguments,
    current_round,
    new_counter,
    read_arrivals,
)
from tests.support.etcd import EtcdServer
from tests.support.failpoints import die_before_write
from tests.support.felix import FelixHost, declare_ready, put_endpoint, put_group, wait_pings
from tests.support.felix import allow as felix_rule
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import Process
from tests.support.resources import allow, group_policy, workload

pytestmark = needs_root

HOST_MAC = "ee:ee:ee:ee:ee:ee"
SENDER, RECEIVER, GUEST = 1, 2, 3
BOTH, OLD, NEW, NEITHER = 1000, 1001, 1002, 1003
PORTS = (BOTH, OLD, NEW, NEITHER)
# Rounds in which a change of rules, seen by the test, may still concern packets under way.
MARGIN = 20

Resources = Mapping[ResourceKey, Resource]
# The first and last round of a time in which nothing was changed.
Epoch = tuple[int, int]


def addresses(number: int) -> tuple[str, str]:
    return f"10.0.0.{number}", f"fd00::{number:x}"


def cluster(*ports: int, guest: bool = False, source_group: str = "client") -> Resources:
    """Two workloads; the receiver takes *ports* from everybody, its set of clients may differ."""
    everybody = [allow("UDP", port) for port in ports]
    return dict(
        [
            workload(SENDER, source_group),
            workload(RECEIVER, "server"),
            group_policy("client"),
            group_policy("other"),
            group_policy("server", *everybody, allow("UDP", 53, group="client")),
            *([workload(GUEST, "server", "client")] if guest else []),
        ]
    )


OLD_POLICY = cluster(BOTH, OLD)
NEW_POLICY = cluster(BOTH, NEW)


class Programmer:
    """What of Felix makes resources into the kernel's state: a new one is a restarted Felix."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        self._namespace = namespace
        self._known: dict[ResourceKey, Resource] = {}
        self._calculation = HostCalculation("here")
        self._renderer = Renderer(RenderSettings(), self._calculation.state)
        ownership = RouteOwnership(lambda name: name.startswith("tap"))
        with namespace.entered():
            self._dataplane = Dataplane(TABLES, ownership, time.monotonic())

    def program(self, resources: Resources) -> int:
        """Make the kernel what *resources* ask for; return how many writes that took."""
        for key in [*self._known.keys() - resources.keys(), *resources]:
            self._calculation.update(key, resources.get(key))
        self._known = dict(resources)
        delta = self._renderer.apply(self._calculation.flush())
        before = self._dataplane.writes
        with self._namespace.entered():
            self._dataplane.read_notifications(time.monotonic())
            while True:
                self._dataplane.apply(self._renderer.desired, delta, time.monotonic())
                delta = DataplaneDelta()
                if not self._dataplane.needs_apply:
                    break
        assert self._dataplane.failures == ()
        return self._dataplane.writes - before

    def close(self) -> None:
        self._dataplane.close()


class Scene:
    """A host with three workloads, and packets under way from the first to the other two."""

    def __init__(
        self,
        host: NetworkNamespace,
        sender: NetworkNamespace,
        directory: Path,
        address: Callable[[int], tuple[str, str]] = addresses,
    ) -> None:
        self._addresses = address
        self.host = host
        self._sender = sender
        self._directory = directory
        self.streams = [
            Stream(address, port)
            for number, ports in ((RECEIVER, PORTS), (GUEST, (BOTH, NEITHER)))
            for address in self._addresses(number)
            for port in ports
        ]
        self._receivers: list[tuple[Process, Path]] = []
        self._process: Process | None = None
        self._arrivals: list[Arrivals] = []
        self._first = self._last = 0

    # --- traffic --------------------------------------------------------------------------------

    def receive(self, number: int, namespace: NetworkNamespace) -> None:
        """Let workload *number* note what arrives."""
        file = self._directory / f"arrived{number}"
        command = arguments("receive", file, self.streams)
        log = self._directory / f"receive{number}.log"
        process = Process(command, log=log, prefix=namespace.command(()))
        process.wait_until(lambda: "ready" in process.output(), "receiver")
        self._receivers.append((process, file))

    def fire(self) -> None:
        """Begin to send; what is demanded counts from the first packets on."""
        for address in (a for n in (RECEIVER, GUEST) for a in self._addresses(n)):
            # Neighbours are known before the first packet counts.
            self.host.run("ping", "-c1", "-W1", address, check=False)
        file = self._directory / "round"
        new_counter(file)
        command = arguments("send", file, self.streams)
        log = self._directory / "send.log"
        self._process = Process(command, log=log, prefix=self._sender.command(()))
        self._first = self.flow(MARGIN)

    def cease(self) -> None:
        """End the traffic and read what arrived."""
        assert self._process is not None
        self._last = self.round() - 1
        self._process.kill()
        merged: list[list[tuple[int, int]]] = [[] for _ in self.streams]
        for process, file in self._receivers:
            process.stop()
            for runs, more in zip(merged, read_arrivals(file), strict=True):
                runs.extend(more.runs)
        self._arrivals = [Arrivals(tuple(runs)) for runs in merged]

    def round(self) -> int:
        """Return the round that the sender is in."""
        return current_round(self._directory / "round")

    def flow(self, rounds: int = 30) -> int:
        """Let *rounds* of packets pass; return the round in which that ended."""
        process = self._process
        assert process is not None
        until = self.round() + rounds
        process.wait_until(lambda: self.round() >= until, "packets")
        return self.round()

    # --- verdicts -------------------------------------------------------------------------------

    def _of(self, port: int, number: int) -> list[tuple[Stream, Arrivals]]:
        targets = self._addresses(number)
        return [
            (stream, arrived)
            for stream, arrived in zip(self.streams, self._arrivals, strict=True)
            if stream.port == port and stream.address in targets
        ]

    def judge(self) -> None:
        """Demand what must hold at every instant."""
        assert self._last > self._first + MARGIN
        for stream, arrived in self._of(BOTH, RECEIVER):
            assert arrived.missing_between(self._first, self._last) == [], f"lost of {stream}"
        self.judge_denied()

    def judge_denied(self) -> None:
        """Demand that nothing passed that no policy allows."""
        for number in (RECEIVER, GUEST):
            for stream, arrived in self._of(NEITHER, number):
                assert arrived.runs == (), f"passed to {stream}"

    def passed(self, epoch: Epoch, port: int, number: int = RECEIVER) -> None:
        """Demand that all packets to *port* arrived during *epoch*."""
        for stream, arrived in self._of(port, number):
            assert arrived.missing_between(*epoch) == [], f"lost of {stream} in {epoch}"

    def stopped(self, epoch: Epoch, port: int, number: int = RECEIVER) -> None:
        """Demand that no packet to *port* arrived during *epoch*."""
        for stream, arrived in self._of(port, number):
            assert not arrived.any_between(*epoch), f"passed to {stream} in {epoch}"

    def epoch(self) -> Epoch:
        """Let packets pass while nothing is changed; return the rounds."""
        first = self.flow(MARGIN)
        # The last round is still being sent.
        return first, self.flow() - 1


@pytest.fixture
def scene(new_namespace: NamespaceFactory, tmp_path: Path) -> Iterator[Scene]:
    host = new_namespace("host")
    for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        host.write_sysctl(path, "1")
    host.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
    # Thousands of flows a second are made; none is needed for long.
    host.write_sysctl("net/netfilter/nf_conntrack_udp_timeout", "1")
    guests = {}
    for number in (SENDER, RECEIVER, GUEST):
        guests[number] = guest = new_namespace(f"vm{number}")
        mac = f"fa:16:3e:00:00:{number:02x}"
        veth(host, f"tap{number}", guest, "eth0", left_mac=HOST_MAC, right_mac=mac)
        four, six = addresses(number)
        guest.ip("addr", "add", f"{four}/32", "dev", "eth0")
        guest.ip("addr", "add", f"{six}/128", "dev", "eth0", "nodad")
        # No neighbour discovery: what is lost here must have been lost by policy.
        for gateway in ("169.254.1.1", "fe80::1"):
            guest.ip("neigh", "add", gateway, "lladdr", HOST_MAC, "dev", "eth0")
            guest.ip("route", "add", "default", "via", gateway, "dev", "eth0", "onlink")
    scene = Scene(host, guests[SENDER], tmp_path)
    for number in (RECEIVER, GUEST):
        scene.receive(number, guests[number])
    yield scene


@pytest.fixture
def programmer(scene: Scene) -> Iterator[Callable[[], Programmer]]:
    """Return a function that starts Felix's programming anew, as a new process would."""
    made: list[Programmer] = []

    def start() -> Programmer:
        made.append(Programmer(scene.host))
        return made[-1]

    yield start
    for one in made:
        one.close()


StartProgrammer = Callable[[], Programmer]


def test_the_generator_sees_a_gap_in_the_rules(scene: Scene, programmer: StartProgrammer) -> None:
    """Programming that begins by deleting the old rules, as no Felix does."""
    programmer().program(OLD_POLICY)
    scene.fire()
    scene.host.run("nft", "delete", "table", "ip", "calico")
    programmer().program(NEW_POLICY)
    scene.flow()
    scene.cease()
    with pytest.raises(AssertionError, match="passed to"):
        scene.judge_denied()


def test_policy_is_switched_at_once(scene: Scene, programmer: StartProgrammer) -> None:
    felix = programmer()
    felix.program(OLD_POLICY)
    scene.fire()
    epochs = []
    for _ in range(15):
        for policy, passes, stops in ((NEW_POLICY, NEW, OLD), (OLD_POLICY, OLD, NEW)):
            assert felix.program(policy) > 0
            epochs.append((scene.epoch(), passes, stops))
    scene.cease()
    scene.judge()
    for epoch, passes, stops in epochs:
        scene.passed(epoch, passes)
        scene.stopped(epoch, stops)


def test_endpoints_come_and_go_beside_the_traffic(
    scene: Scene, programmer: StartProgrammer
) -> None:
    felix = programmer()
    felix.program(OLD_POLICY)
    scene.fire()
    with_guest = cluster(BOTH, OLD, guest=True)
    epochs = []
    for _ in range(8):
        felix.program(with_guest)
        epochs.append((scene.epoch(), True))
        felix.program(OLD_POLICY)
        epochs.append((scene.epoch(), False))
    scene.cease()
    scene.judge()
    for epoch, present in epochs:
        if present:
            # Its IPv6 neighbour has to be discovered first.
            stream_epoch = (epoch[1] - 5, epoch[1])
            scene.passed(stream_epoch, BOTH, GUEST)
        else:
            scene.stopped(epoch, BOTH, GUEST)
        scene.passed(epoch, OLD)


def test_a_restart_changes_what_changed_and_nothing_else(
    scene: Scene, programmer: StartProgrammer
) -> None:
    programmer().program(OLD_POLICY)
    scene.fire()
    epochs = []
    for _ in range(5):
        for policy, passes, stops in ((NEW_POLICY, NEW, OLD), (OLD_POLICY, OLD, NEW)):
            assert programmer().program(policy) > 0
            epochs.append((scene.epoch(), passes, stops))
            assert programmer().program(policy) == 0
    scene.cease()
    scene.judge()
    for epoch, passes, stops in epochs:
        scene.passed(epoch, passes)
        scene.stopped(epoch, stops)


def writes_until_death(scene: Scene, resources: Resources, number: int) -> int | None:
    """Program *resources* in a new process that dies before its *number*-th write.

    Returns None when it did, the number of its writes when it came to its end.
    """
    child = os.fork()
    if child == 0:
        code = 255
        try:
            written = die_before_write(number)
            Programmer(scene.host).program(resources)
            code = written()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    code = os.WEXITSTATUS(status)
    assert code != 255, "the process failed"
    return code


def test_killed_before_each_write(scene: Scene, programmer: StartProgrammer) -> None:
    """Rules, sets, routes, neighbours and parameters change; whatever was done must be safe."""
    old = OLD_POLICY
    new = cluster(BOTH, NEW, guest=True)
    programmer().program(old)
    scene.fire()
    epochs = []
    for before, after, passes, stops in ((old, new, NEW, OLD), (new, old, OLD, NEW)):
        deaths = 0
        while True:
            programmer().program(before)
            for parameter in ("proxy_arp", "forwarding"):
                scene.host.write_sysctl(f"net/ipv4/conf/tap{GUEST}/{parameter}", "0")
            scene.host.ip("route", "flush", "dev", f"tap{GUEST}", "scope", "link")
            if writes_until_death(scene, after, deaths + 1) is not None:
                break
            deaths += 1
            scene.flow(10)
            programmer().program(after)
            epochs.append((scene.epoch(), passes, stops))
        # To come: two parameters, rules, neighbours, routes. To go: a new process leaves routes
        # of a young interface alone for a while.
        assert deaths >= (5 if after is new else 2)
    scene.cease()
    scene.judge()
    for epoch, passes, stops in epochs:
        scene.passed(epoch, passes)
        scene.stopped(epoch, stops)


STRANGE = """
table {family} calico {{
    set cali40s:strange {{ type ifname; elements = {{ "tap1", "tap2" }}; }}
    chain filter-cali-FORWARD {{
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
        iifname @cali40s:strange jump filter-cali-fw
        iifname "tap*" drop
    }}
    chain filter-cali-fw {{ udp dport {{ 1000, 1001 }} accept; drop; }}
    chain raw-cali-PREROUTING {{ type filter hook prerouting priority raw; policy accept; }}
}}
"""


def test_an_upgrade_replaces_other_chains_in_our_tables(
    scene: Scene, programmer: StartProgrammer
) -> None:
    for family in ("ip", "ip6"):
        text = STRANGE.format(family=family).replace("cali40s:strange", "cali40s_strange")
        scene.host.run("nft", "-f", "-", stdin=text)
    for number in (SENDER, RECEIVER):
        four, six = addresses(number)
        scene.host.ip("route", "add", four, "dev", f"tap{number}", "scope", "link")
        scene.host.ip("-6", "route", "add", six, "dev", f"tap{number}", "metric", "1024")
    scene.fire()
    before = scene.epoch()
    programmer().program(NEW_POLICY)
    after = scene.epoch()
    assert programmer().program(NEW_POLICY) == 0
    scene.cease()
    scene.judge()
    scene.passed(before, OLD)
    scene.stopped(before, NEW)
    scene.passed(after, NEW)
    scene.stopped(after, OLD)
    for family in ("ip", "ip6"):
        table = scene.host.run("nft", "list", "table", family, "calico").stdout
        assert "strange" not in table
        assert "cali-FORWARD" not in table


def lab_addresses(number: int) -> tuple[str, str]:
    return f"10.65.0.{number}", f"fd00::{number}"


def test_the_real_felix_is_killed_again_and_again(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> None:
    """Policy changes while it is dead, while it starts, and while it runs."""
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    guests = {number: host.plug(number) for number in (SENDER, RECEIVER)}

    def store(*ports: int) -> None:
        rules = [felix_rule("UDP", port, version=v) for port in ports for v in (4, 6)]
        put_group(etcd, "server", [*rules, felix_rule("ICMP"), felix_rule("ICMPv6", version=6)])

    store(BOTH, OLD)
    put_endpoint(etcd, SENDER, "client")
    put_group(etcd, "client", [])
    put_endpoint(etcd, RECEIVER, "server")
    host.start()
    for ipv6 in (False, True):
        wait_pings(guests[SENDER], RECEIVER, ipv6=ipv6)
    scene = Scene(host.namespace, guests[SENDER], tmp_path, lab_addresses)
    scene.receive(RECEIVER, guests[RECEIVER])
    try:
        scene.fire()
        epochs = []
        for moment in (0.0, 0.3, 0.6, 0.9):
            for extra, other in ((NEW, OLD), (OLD, NEW)):
                assert host.process is not None
                host.process.kill()
                scene.flow(10)
                store(BOTH, extra)
                process = host.start(wait=False)
                time.sleep(moment)
                process.kill()
                host.start()
                epochs.append((scene.epoch(), extra, other))
        scene.cease()
    finally:
        host.close()
    scene.judge()
    for epoch, passes, stops in epochs:
        scene.passed(epoch, passes)
        scene.stopped(epoch, stops)

"""How long a lab takes: from a new port to its first packet, and from a rule to its effect.

Runs in a lab of its own, with nothing else in it. A workload has its address from the start, so
DHCP is not part of any figure; packets are echo requests of the outside client, one every 2 ms,
each of a new flow.

    .venv/bin/python -m benchmarks.lab_latency [--ports N] [--rules N] [--hosts N]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import socket
import statistics
import struct
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.conditions import conditions, load_average
from calico_openstack.checksum import internet_checksum
from calico_openstack.lab import bring_up, namespaces, teardown
from calico_openstack.lab.cloud import api, supervisor
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.processes import resident_bytes
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import Resource
from calico_openstack.lab.settings import DEFAULT_CACHE, Lab
from calico_openstack.lab.workload import tap_name

CLONE_NEWNET = 0x40000000
PATIENCE = 60.0
INTERVAL = 0.002
# After this much silence at that rate, packets are taken to be blocked.
SILENCE = 0.1


@dataclass
class Samples:
    """Seconds of one kind."""

    title: str
    values: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        ordered = sorted(self.values)
        p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
        figures = (statistics.median(ordered), p99, ordered[0], ordered[-1])
        return [self.title, str(len(ordered)), *(f"{value * 1000:.0f}" for value in figures)]


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace; sockets made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        Path("/proc/thread-self/ns/net").open("rb") as home,
        (namespaces.NETNS / namespace).open("rb") as target,
    ):
        if libc.setns(target.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


class Client:
    """The outside client's echo requests to one address at a time."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.setblocking(False)
        self._identifier = os.getpid() & 0xFFFF

    def exchange(self, address: str) -> bool:
        """Send a request of a new flow; whether a reply of any earlier one has come."""
        self._identifier = (self._identifier + 1) & 0xFFFF
        body = struct.pack("!BBHHH", 8, 0, 0, self._identifier, 1)
        packet = body[:2] + internet_checksum(body) + body[4:]
        with contextlib.suppress(OSError):
            self._socket.sendto(packet, (address, 0))
        time.sleep(INTERVAL)
        answered = False
        while True:
            try:
                data, sender = self._socket.recvfrom(2048)
            except OSError:
                return answered
            answered |= sender[0] == address and data[(data[0] & 15) * 4] == 0

    def first_reply(self, address: str) -> float:
        """When the first reply comes, on the monotonic clock."""
        deadline = time.monotonic() + PATIENCE
        while not self.exchange(address):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{address} never answered")
        return time.monotonic()

    def last_reply(self, address: str) -> float:
        """When the last reply came before a silence, on the monotonic clock."""
        last = time.monotonic()
        deadline = last + PATIENCE
        while time.monotonic() - last < SILENCE:
            if self.exchange(address):
                last = time.monotonic()
            if last > deadline:
                raise TimeoutError(f"{address} never stopped to answer")
        return last


class Bench:
    """What is measured, in one lab."""

    def __init__(self, lab: Lab, hosts: int) -> None:
        self.lab, self.hosts = lab, hosts
        self.neutron: NeutronApi = api(lab)
        self.client = Client(lab.namespace("client"))
        self.network = self.neutron.create("networks", name="bench")
        self.neutron.create(
            "subnets", network_id=self.network["id"], ip_version=4, cidr="10.80.0.0/16"
        )
        self.group = self.neutron.create("security-groups", name="bench")
        self.reply, self.active, self.packet = (
            Samples(f"port create to {what}")
            for what in ("the API's reply", "ACTIVE in the API", "first packet")
        )
        self.opened, self.closed = (
            Samples("rule create to first packet"),
            Samples("rule delete to last packet"),
        )

    def rule(self) -> Resource:
        return self.neutron.create(
            "security-group-rules",
            security_group_id=self.group["id"],
            direction="ingress",
            ethertype="IPv4",
            protocol="icmp",
        )

    @contextlib.contextmanager
    def workload(self, number: int) -> Iterator[Resource]:
        """A port, plugged as soon as the API has replied; its creation is measured."""
        host = f"compute-{number % self.hosts + 1}"
        begin = time.monotonic()
        port = self.neutron.create(
            "ports",
            network_id=self.network["id"],
            device_owner="compute:nova",
            device_id=str(uuid.uuid4()),
            binding__host_id=host,
            security_groups=[self.group["id"]],
        )
        self.reply.values.append(time.monotonic() - begin)
        namespace = self.lab.workload_namespace(f"bench-{number}")
        namespaces.create(namespace)
        try:
            self._plug(port, host, namespace)
            address = port["fixed_ips"][0]["ip_address"]
            self.packet.values.append(self.client.first_reply(address) - begin)
            while self.neutron.get("ports", port["id"])["status"] != "ACTIVE":
                if time.monotonic() - begin > PATIENCE:
                    raise TimeoutError(f"port {port['id']} is not ACTIVE")
            self.active.values.append(time.monotonic() - begin)
            yield port
        finally:
            self.neutron.delete("ports", port["id"])
            namespaces.delete(namespace)

    def _plug(self, port: Resource, host: str, namespace: str) -> None:
        name, mac = tap_name(port["id"]), port["binding:vif_details"]["mac_address"]
        address = port["fixed_ips"][0]["ip_address"]
        pair = f"link add {name} address {mac} type veth peer name eth0"
        pair += f" address {port['mac_address']} netns {namespace}"
        namespaces.configure(self.lab.namespace(host), [pair, f"link set {name} up"], {})
        lines = [
            "link set eth0 up",
            f"address add {address}/32 dev eth0",
            "route add 169.254.1.1 dev eth0",
            "route add default via 169.254.1.1 dev eth0",
        ]
        namespaces.configure(namespace, lines, {})

    def ports(self, count: int, progress: Progress) -> None:
        rule = self.rule()
        with progress.step(f"{count} ports, one after the other"):
            for number in range(count):
                with self.workload(number):
                    pass
        self.neutron.delete("security-group-rules", rule["id"])

    def rules(self, count: int, progress: Progress) -> None:
        rule = self.rule()
        with self.workload(0) as port:
            self.reply.values.pop()
            self.active.values.pop()
            self.packet.values.pop()
            address = port["fixed_ips"][0]["ip_address"]
            with progress.step(f"{count} rules, taken away and given again"):
                for _ in range(count):
                    begin = time.monotonic()
                    self.neutron.delete("security-group-rules", rule["id"])
                    self.closed.values.append(max(0.0, self.client.last_reply(address) - begin))
                    begin = time.monotonic()
                    rule = self.rule()
                    self.opened.values.append(self.client.first_reply(address) - begin)


def timed(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the latencies of a lab.")
    parser.add_argument("--ports", type=int, default=100)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--hosts", type=int, default=2)
    chosen = parser.parse_args()
    console = Console()
    for name, text in {**conditions(), "Neutron": version("neutron")}.items():
        console.print(f"{name:14}{text}", highlight=False)
    console.print(f"{chosen.hosts} compute hosts; etcd and MariaDB do not wait for the disk")
    progress = Progress(console)
    root = Path(tempfile.mkdtemp(prefix="lab-"))
    root.chmod(0o755)
    lab = Lab(f"bench{os.getpid()}"[:12], root / "lab", DEFAULT_CACHE)
    try:
        seconds = timed(lambda: bring_up.up(lab, chosen.hosts, progress, owner=os.getpid()))
        bench = Bench(lab, chosen.hosts)
        bench.ports(chosen.ports, progress)
        bench.rules(chosen.rules, progress)
        table = Table("milliseconds", "n", "p50", "p99", "min", "max")
        for samples in (bench.reply, bench.packet, bench.active, bench.opened, bench.closed):
            table.add_row(*samples.row())
        console.print(table)
        felix = supervisor(lab).process("felix@compute-1").pid
        console.print(f"calico-felix: {resident_bytes(felix) / 2**20:.0f} MiB resident")
        console.print(f"the lab was up after {seconds:.1f} s; load average: {load_average()}")
    finally:
        teardown.down(lab)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()

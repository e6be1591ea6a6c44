"""What calicoctl takes with a large cluster: from a cold start of the command to its last line.

python -m benchmarks.calicoctl [--endpoints 100000] [--groups 5000] [--rounds 5] [--data DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import floor, host
from benchmarks.clusters import NAMESPACE, Cluster
from benchmarks.conditions import load_average
from benchmarks.table import Row, show
from calico_openstack.datamodel import ResourceKey
from tests.support.etcd import EtcdServer

_PROGRAM = Path(sys.executable).parent / "calicoctl"
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds to the first output and to the end, CPU seconds, and bytes that were printed."""

    first: float
    whole: float
    cpu: float
    size: int


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and the targets in seconds: to its first output and to its end."""

    name: str
    arguments: Sequence[str]
    first: float | None = None
    whole: float | None = None
    rounds: int | None = None


def run(server: EtcdServer, arguments: Sequence[str]) -> Run:
    """Run the command; what it prints is read as it comes."""
    # Installed packages have their bytecode, so the measured program has too, after one run.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(server.directory / "bytecode")
    environment["ETCD_ENDPOINTS"] = server.endpoint
    began = time.perf_counter()
    process = subprocess.Popen(
        [_PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert process.stdout is not None
    first, size = 0.0, 0
    while chunk := os.read(process.stdout.fileno(), _CHUNK):
        first = first or time.perf_counter() - began
        size += len(chunk)
    process.stdout.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{arguments}: exit status {process.returncode}")
    return Run(first or whole, whole, used.ru_utime + used.ru_stime, size)


def cases(cluster: Cluster) -> list[Case]:
    """Return what is measured."""
    one, other = (cluster.endpoint(number) for number in (cluster.endpoints // 2, 7))
    name = one.key.rpartition("/")[2]
    group = ResourceKey("NetworkPolicy", "", NAMESPACE).path
    policy = cluster.policy(3)[0].removeprefix(group)
    return [
        Case("version", ["version"]),
        Case("get of one endpoint", ["get", "wep", name, "-n", NAMESPACE], whole=0.3),
        Case("get of one policy", ["get", "np", policy, "-n", NAMESPACE], whole=0.3),
        Case("get of all endpoints", ["get", "wep", "-A"], first=1.0, rounds=2),
        Case("get of all endpoints, wide", ["get", "wep", "-A", "-o", "wide"], first=1.0, rounds=2),
        Case("get of all names", ["get", "wep", "-A", "-o", "name"], first=1.0, rounds=2),
        Case("get of all by a label", ["get", "wep", "-A", "-l", "x == 'y'"], rounds=2),
        Case(
            "explain by address",
            ["explain", one.address, other.address, "tcp/80", "--model-only"],
            whole=1.0,
        ),
        Case(
            "explain by port",
            ["explain", one.interface[3:], other.address, "tcp/80", "--model-only"],
            whole=1.0,
        ),
        Case("ipam show", ["ipam", "show"], rounds=2),
        Case("ipam show --ip", ["ipam", "show", "--ip", one.address], rounds=2),
        Case("ipam check", ["ipam", "check"], rounds=2),
        Case("map", ["map"], rounds=2),
    ]


def nodes(cluster: Cluster) -> Iterator[tuple[str, bytes]]:
    """Yield a node for each host, as the BGP agents register them."""
    for number in range(cluster.hosts):
        name = cluster.host(number)
        address = f"172.16.{number >> 8}.{number & 255}/16"
        spec = {"bgp": {"ipv4Address": address}}
        value = {
            "kind": "Node",
            "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": name},
            "spec": spec,
        }
        yield ResourceKey("Node", name).path, msgspec.json.encode(value)


def measure(server: EtcdServer, cluster: Cluster, rounds: int, only: str) -> list[Row]:
    """Return the figures of the cases whose names contain *only*; the best of all rounds counts."""
    rows: list[Row] = []
    for case in cases(cluster):
        if only not in case.name:
            continue
        runs = [run(server, case.arguments) for _ in range(case.rounds or rounds)]
        note = f"load {load_average()}, {runs[0].size:,} bytes"
        first = min(each.first for each in runs)
        rows.append(Row(f"{case.name}: first line", first, "s", case.first))
        whole = min(each.whole for each in runs)
        rows.append(Row(case.name, whole, "s", case.whole, note=note))
        rows.append(Row(f"{case.name}: CPU", min(each.cpu for each in runs), "s"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="the cases whose names contain this")
    parser.add_argument("--data", type=Path, help="keep etcd's content here for the next time")
    options = parser.parse_args()
    cluster = Cluster(options.endpoints, options.groups)
    with tempfile.TemporaryDirectory() as temporary:
        directory = (options.data or Path(temporary)) / f"{options.endpoints}-{options.groups}"
        with host.etcd(directory) as server:
            with server.client(60.0) as client:
                if client.get(cluster.endpoint(cluster.endpoints - 1).key) is None:
                    host.fill(client, cluster.objects())
                host.fill(client, nodes(cluster))
            bare, count = floor.stream(server)
            rows = [Row(f"etcd alone, {count:,} keys by a bare client", bare, "s")]
            rows += measure(server, cluster, options.rounds, options.only)
    show(rows)


if __name__ == "__main__":
    main()

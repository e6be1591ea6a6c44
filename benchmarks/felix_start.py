"""Start of day: from the start of the process to the programmed kernel, and the start after that.

python -m benchmarks.felix_start [--loads 10000:5000,...] [--rounds 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import floor, host
from benchmarks.clusters import Cluster
from benchmarks.conditions import load_average
from benchmarks.table import Row, show
from tests.support.etcd import EtcdServer
from tests.support.netns import NetworkNamespace

LOCAL = 200
_SETTLING = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """How large the cluster is, and the targets for it: seconds and MiB."""

    endpoints: int
    groups: int
    seconds: float | None = None
    memory: float | None = None


LOADS = (
    Load(10_000, 5_000, 0.7, 100),
    Load(100_000, 5_000, 2.5, 160),
    Load(250_000, 10_000, 6.0, 300),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A start, and the memory in MiB: a moment after it, and at most, of all its processes."""

    programmed: host.Programmed
    resident: float
    peak: float


def measure(load: Load, rounds: int, data: Path) -> list[Row]:
    """Measure one load; *data* keeps etcd's content for the next time."""
    cluster = Cluster(load.endpoints, load.groups, LOCAL)
    taps = [cluster.endpoint(number).interface for number in cluster.local_numbers()]
    with host.namespace() as namespace:
        host.plug(namespace, taps)
        with host.etcd(data) as server:
            _fill(server, cluster)
            floors = [floor.stream(server)[0] for _ in range(rounds)]
            runs = [_start(namespace, server, cluster, taps, data) for _ in range(rounds)]
            with host.Felix(server, cluster.host(0), data) as felix:
                again = felix.wait_programmed()
            kernel = _kernel(cluster, taps)
    best = min((run.programmed for run in runs), key=lambda one: one.seconds)
    name = f"start, {load.endpoints:,} endpoints, {load.groups:,} groups"
    bound = min(floors) + kernel.total
    note = f"load {load_average()}"
    return [
        Row(name, best.seconds, "s", load.seconds, bound, note),
        Row(f"{name}: CPU", min(run.programmed.cpu for run in runs), "s"),
        Row(f"{name}: etcd alone, bare client", min(floors), "s"),
        Row(f"{name}: kernel alone", kernel.total * 1000, "ms"),
        Row(f"{name}: resident", min(run.resident for run in runs), "MiB", load.memory),
        Row(f"{name}: peak of all its processes", min(run.peak for run in runs), "MiB"),
        Row(f"{name}: kernel writes", best.writes, ""),
        Row(f"restart with nothing changed, {load.endpoints:,}", again.seconds, "s"),
        Row(f"restart, {load.endpoints:,}: kernel writes", again.writes, "", 0),
    ]


def _fill(server: EtcdServer, cluster: Cluster) -> None:
    with server.client(60.0) as client:
        if client.get(cluster.endpoint(cluster.endpoints - 1).key) is None:
            host.fill(client, cluster.objects())


def _start(
    namespace: NetworkNamespace, server: EtcdServer, cluster: Cluster, taps: list[str], data: Path
) -> Run:
    """Start Felix on a kernel that knows nothing yet."""
    host.unplug(namespace, taps)
    host.plug(namespace, taps)
    with host.Felix(server, cluster.host(0), data) as felix:
        programmed = felix.wait_programmed()
        time.sleep(_SETTLING)
        run = Run(programmed, felix.memory("VmRSS"), max(felix.peak, felix.memory("VmHWM")))
    routes = namespace.ip("-4", "route", "show").count("dev tap")
    if routes != len(taps):
        raise RuntimeError(f"{routes} of {len(taps)} endpoints have a route")
    return run


def _kernel(cluster: Cluster, taps: list[str]) -> floor.KernelTime:
    with host.namespace() as namespace:
        host.plug(namespace, taps)
        return floor.program(cluster.objects(), cluster.host(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", help="ENDPOINTS:GROUPS,... in place of the usual ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="keep etcd's content here for the next time")
    options = parser.parse_args()
    loads: tuple[Load, ...] = LOADS
    if options.loads:
        pairs = [pair.split(":") for pair in options.loads.split(",")]
        loads = tuple(Load(int(endpoints), int(groups)) for endpoints, groups in pairs)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = options.data or Path(temporary)
        for load in loads:
            directory = root / f"{load.endpoints}-{load.groups}"
            rows += measure(load, options.rounds, directory)
    show(rows)


if __name__ == "__main__":
    main()

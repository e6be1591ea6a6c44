"""Convergence of BGP: from a route in one host's kernel to the kernels of all others.

python -m benchmarks.bgp_convergence [--speakers 10,20,50,100] [--routes 10] [--events 20]

Every speaker is a real BIRD in a network namespace of its own, with the configuration that the
agent renders for a client of two route reflectors; the reflectors are two more. Routes are put
into kernels as Felix does it, and seen in kernels by their notifications. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final

from benchmarks.bgp_speakers import (
    BIRD,
    FELIX,
    Speaker,
    Watcher,
    bird_version,
    cluster,
    members,
    room_for_neighbours,
)
from benchmarks.conditions import load_average
from benchmarks.table import Row, show
from tests.support.netns import NetworkNamespace, sweep_stale

START_LIMIT: Final = 300.0
EVENT_LIMIT: Final = 30.0
BURST: Final = 200


class Fabric:
    """Speakers and reflectors on one switch; a context manager."""

    def __init__(self, count: int, routes: int, directory: Path) -> None:
        self.switch = NetworkNamespace("switch")
        self.switch.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        self.switch.ip("link", "set", "br0", "up")
        nodes = members(count)
        state = cluster(nodes)
        self.everybody = [Speaker(self.switch, node, state, directory) for node in nodes]
        self.reflectors, self.speakers = self.everybody[:2], self.everybody[2:]
        self.base = routes
        for speaker in self.speakers:
            speaker.change(add=[speaker.address(i) for i in range(routes)])
        self.watcher = Watcher(self.speakers)

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.close()
        for speaker in self.everybody:
            speaker.stop()
        self.switch.delete()

    def start(self) -> float:
        """Start every BIRD; return the seconds until every kernel has every route."""
        begun = time.monotonic()
        for speaker in self.everybody:
            speaker.start()
        wanted = {a for s in self.speakers for i in range(self.base) for a in s.address(i)}
        missing = {
            s.name: wanted - {a for i in range(self.base) for a in s.address(i)}
            for s in self.speakers
        }
        deadline = begun + START_LIMIT
        while any(missing.values()) and time.monotonic() < deadline:
            for change in self.watcher.events(1.0):
                if change.appeared and change.protocol == BIRD:
                    missing[change.speaker].discard(change.address)
        if any(missing.values()):
            raise SystemExit(f"{sum(map(len, missing.values()))} routes never arrived")
        return time.monotonic() - begun

    def spread(self, act: Callable[[], None], addresses: set[str], *, appear: bool) -> list[float]:
        """Return, for each address in each other kernel, the seconds from the change in the first
        kernel, that of the workload's host, to the change there."""
        for _ in self.watcher.events(0.2):
            pass
        expected = len(addresses) * (len(self.speakers) - 1)
        first: dict[str, float] = {}
        arrived: dict[tuple[str, str], float] = {}
        begun = time.monotonic()
        # Meanwhile this thread takes the time of each notification.
        acting = threading.Thread(target=act)
        acting.start()
        while len(arrived) < expected and time.monotonic() < begun + EVENT_LIMIT:
            for change in self.watcher.events(0.5):
                if change.appeared != appear or change.address not in addresses:
                    continue
                if change.protocol == FELIX:
                    first.setdefault(change.address, change.moment)
                else:
                    arrived.setdefault((change.speaker, change.address), change.moment)
        acting.join()
        if len(arrived) < expected:
            raise SystemExit(f"{expected - len(arrived)} of {expected} changes never arrived")
        return [moment - first[address] for (_, address), moment in arrived.items()]


def main() -> None:
    """Measure fabrics of growing size and print the figures with their conditions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--speakers", default="10,20,50,100")
    parser.add_argument("--routes", type=int, default=10, help="workloads of a host, two families")
    parser.add_argument("--events", type=int, default=20, help="repetitions of each change")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("needs root: makes network namespaces")
    sweep_stale()
    print(f"{'BIRD':14}{bird_version()}")
    rows: list[Row] = []
    with room_for_neighbours():
        for count in (int(text) for text in options.speakers.split(",")):
            before = load_average()
            rows += measured(count, options.routes, options.events)
            print(
                f"{'load':14}{before} before {count} speakers, {load_average()} after", flush=True
            )
    show(rows)


def measured(count: int, routes: int, events: int) -> list[Row]:
    """Return the figures of a fabric with *count* speakers."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Fabric(count, routes, Path(directory)) as fabric,
    ):
        label = f"{count} speakers: "
        rows = [Row(label + "start to all routes everywhere", fabric.start(), "s")]
        cpu = {s.name: s.cpu() for s in fabric.everybody}
        begun = time.monotonic()
        for name, delays in changes(fabric, events):
            rows += [
                Row(f"{label}{name}, p50", percentile(delays, 50) * 1000, "ms"),
                Row(f"{label}{name}, p99", percentile(delays, 99) * 1000, "ms"),
            ]
        elapsed = time.monotonic() - begun
        for name, group in (("reflector", fabric.reflectors), ("client", fabric.speakers)):
            used = sum(s.cpu() - cpu[s.name] for s in group) / len(group)
            memory = sum(s.memory() for s in group) / len(group)
            rows += [
                Row(f"{label}memory of a {name}", memory / 2**20, "MiB", note="PSS"),
                Row(f"{label}CPU of a {name}", used / elapsed * 100, "%", note="while measuring"),
            ]
        rows += [reflector_loss(fabric, label)]
        return rows


def changes(fabric: Fabric, events: int) -> Iterator[tuple[str, list[float]]]:
    """Yield what was changed, and the delays of every change in every kernel."""
    created: list[float] = []
    moved: list[float] = []
    deleted: list[float] = []
    for event in range(events):
        home = fabric.speakers[event % len(fabric.speakers)]
        away = fabric.speakers[(event + 1) % len(fabric.speakers)]
        pair = home.address(1000 + event)
        both = set(pair)
        created += fabric.spread(partial(home.change, add=[pair]), both, appear=True)
        # The target's route is elevated; everybody but itself turns to it, the source too.
        moved += fabric.spread(partial(away.change, add=[pair], metric=512), both, appear=True)
        home.change(delete=[pair])
        deleted += fabric.spread(
            partial(away.change, delete=[pair], metric=512), both, appear=False
        )
    yield "one workload created", created
    yield "one workload moved", moved
    yield "one workload deleted", deleted
    home = fabric.speakers[0]
    burst = [home.address(2000 + i) for i in range(BURST)]
    addresses = {address for pair in burst for address in pair}
    yield (
        f"{BURST} workloads created at once",
        fabric.spread(partial(home.change, add=burst), addresses, appear=True),
    )
    yield (
        f"{BURST} workloads withdrawn at once",
        fabric.spread(partial(home.change, delete=burst), addresses, appear=False),
    )


def reflector_loss(fabric: Fabric, label: str) -> Row:
    """Kill a reflector and count the routes that clients lose by it."""
    for _ in fabric.watcher.events(0.2):
        pass
    fabric.reflectors[0].kill(signal.SIGKILL)
    lost = 0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lost += sum(not change.appeared for change in fabric.watcher.events(0.5))
    return Row(label + "routes lost with a reflector killed", lost, "", target=0)


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

"""What happens to single workloads, and how soon the kernels of all hosts follow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bgp_lab import CONVERGENCE_TIME, Cloud, End, Router
from benchmarks.bgp_speakers import BIRD, Watcher
from calico_openstack.bgp.settings import FAMILIES
from tests.bgp.stream import Outcome, Stream
from tests.support.processes import eventually

LIMIT: Final = 60.0
INTERVAL: Final = 0.002
PAUSE: Final = 0.05
"""Seconds between the last moment of a guest at its source and its first at the target."""


@dataclass(slots=True)
class Measured:
    """One kind of event: seconds of every repetition in every kernel, by family, and packets.

    ``outages`` are seconds without a packet beyond a guest's own pause.
    """

    name: str
    times: dict[int, list[float]] = field(default_factory=lambda: {4: [], 6: []})
    outages: dict[int, list[float]] = field(default_factory=lambda: {4: [], 6: []})
    lost: dict[int, int] = field(default_factory=lambda: {4: 0, 6: 0})
    sent: int = 0
    repetitions: int = 0
    note: str = ""


class Observer:
    """Sees when the kernels of a cloud's hosts change."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._watcher = Watcher(cloud.routers)

    def close(self) -> None:
        """Close the sockets."""
        self._watcher.close()

    def until(
        self,
        act: Callable[[], object],
        addresses: Sequence[str],
        hosts: Iterable[Router],
        settled: Callable[[Router, str], bool],
        *,
        appear: bool = True,
    ) -> dict[int, list[float]]:
        """Return the seconds from *act* to the last change in each kernel, by family.

        It is over when every host is *settled* for each address.
        """
        for _ in self._watcher.events(0.2):
            pass
        pending = {(host.name, address): host for host in hosts for address in addresses}
        last: dict[tuple[str, str], float] = {}
        begun = time.monotonic()
        act()
        while pending:
            for change in self._watcher.events(0.2):
                if change.protocol == BIRD and change.appeared == appear:
                    last[change.speaker, change.address] = change.moment
            for key in [key for key in pending if key in last and settled(pending[key], key[1])]:
                del pending[key]
            if time.monotonic() > begun + LIMIT:
                raise SystemExit(f"{sorted(pending)} never settled")
        return {
            family: [
                moment - begun
                for (_, address), moment in last.items()
                if address in addresses and (":" in address) == (family == 6)
            ]
            for family in FAMILIES
        }


def is_gone(host: Router, address: str) -> bool:
    """Whether a host has no route to an address."""
    return address not in host.routes("-6" if ":" in address else "-4")


def lives(cloud: Cloud, observer: Observer, repetitions: int) -> list[Measured]:
    """Create, move and delete workloads."""
    created, moved, deleted = (
        Measured("workload created"),
        Measured("workload moved, cold"),
        Measured("workload deleted"),
    )
    for repetition in range(repetitions):
        number = 100 + repetition
        here, there = cloud.computes[repetition % 2], cloud.computes[2 + repetition % 2]
        one, other = cloud.plug(number, here), cloud.plug(number, there)
        others = [host for host in cloud.routers if host is not here]
        create = partial(cloud.bind, one)
        add(created, observer.until(create, one.addresses, others, partial(cloud.leads_to, one)))
        turning = cloud.turning(here, there)
        move = partial(_move, cloud, one, other)
        add(moved, observer.until(move, one.addresses, turning, partial(cloud.leads_to, other)))
        others = [host for host in cloud.routers if host is not there]
        delete = partial(cloud.unbind, other)
        add(deleted, observer.until(delete, one.addresses, others, is_gone, appear=False))
    return [created, moved, deleted]


def _move(cloud: Cloud, source: End, target: End) -> None:
    cloud.unbind(source)
    cloud.bind(target)


def add(measured: Measured, times: dict[int, list[float]]) -> None:
    """Take up what one repetition took."""
    measured.repetitions += 1
    for family, values in times.items():
        measured.times[family] += values


@dataclass(frozen=True, slots=True)
class Moment:
    """One migration: which of the two ends is left, when it pauses and when the other resumes."""

    left: int
    paused: float
    resumed: float


def migrations(cloud: Cloud, directory: Path, repetitions: int) -> list[Measured]:
    """Migrate a guest back and forth under a stream of packets to it and from it."""
    number = 50
    ends = [cloud.plug(number, host) for host in cloud.computes[:2]]
    asking = cloud.plug(51, cloud.computes[2])
    for end in (ends[0], asking):
        cloud.bind(end)
    for address in ends[0].addresses:
        answers(asking, address)
    streams = [
        Stream(asking.namespace, address, [e.namespace for e in ends], directory, INTERVAL)
        for address in ends[0].addresses
    ]
    time.sleep(1)
    moments = [migrate(cloud, ends, turn % 2) for turn in range(repetitions)]
    outcomes = [stream.finish() for stream in streams]
    towards, back = Measured("live migration, to the guest"), Measured("live migration, from it")
    for family, outcome in zip(FAMILIES, outcomes, strict=True):
        judge(towards, back, family, outcome, moments)
    for measured in (towards, back):
        measured.repetitions = repetitions
        measured.note = f"guest's pause {PAUSE * 1000:.0f} ms; times are beyond it"
    return [towards, back]


def migrate(cloud: Cloud, ends: Sequence[End], left: int) -> Moment:
    """Do what Neutron, Nova and QEMU do; return when."""
    source, target = ends[left], ends[1 - left]
    migration = cloud.begin_migration(source, target)
    cloud.bind(target)
    listening = ("ss", "-0", "-n", "-a")
    interface = f"tap{target.number}"
    eventually(lambda: interface in target.host.namespace.run(*listening).stdout, 30)
    paused = time.monotonic()
    time.sleep(PAUSE)
    resumed = time.monotonic()
    target.announce()
    for router in cloud.turning(source.host, target.host):
        for address in target.addresses:
            eventually(partial(cloud.leads_to, target, router, address), 30)
    cloud.unbind(source)
    cloud.etcd.delete(migration)
    time.sleep(CONVERGENCE_TIME + 1.5)
    return Moment(left, paused, resumed)


def judge(
    towards: Measured, back: Measured, family: int, outcome: Outcome, moments: Sequence[Moment]
) -> None:
    """Take up what became of the packets of one family.

    A packet counts where the guest was at that moment: at its source before the pause, at its
    target from then on.
    """
    arrived: dict[int, float] = {}
    stay, since, index = 0, 0.0, 0
    for index, moment in enumerate([*moments, None]):
        until = moment.paused if moment else float("inf")
        stay = moments[index].left if moment else 1 - moments[-1].left
        received = outcome.received[stay].items()
        arrived |= {number: at for number, at in received if since <= at < until}
        since = moment.resumed if moment else since
    for moment in moments:
        for measured, times in ((towards, arrived), (back, echoes(outcome, arrived))):
            gap = gap_around(list(times.values()), moment.paused, moment.resumed)
            measured.outages[family].append(max(0.0, gap - (moment.resumed - moment.paused)))
    towards.sent = back.sent = len(outcome.sent)
    in_pause = {
        number
        for number, at in enumerate(outcome.sent)
        if any(m.paused - INTERVAL <= at < m.resumed for m in moments)
    }
    towards.lost[family] += len(set(range(len(outcome.sent))) - arrived.keys() - in_pause)
    back.lost[family] += len(arrived.keys() - outcome.echoed.keys())


def echoes(outcome: Outcome, arrived: dict[int, float]) -> dict[int, float]:
    """Return when the sender had the answers to the packets that arrived."""
    return {number: at for number, at in outcome.echoed.items() if number in arrived}


def gap_around(times: list[float], start: float, end: float) -> float:
    """Return the seconds from the last time before *start* to the first after *end*."""
    before = max((t for t in times if t < start), default=start)
    after = min((t for t in times if t >= end), default=float("inf"))
    return after - before


def answers(asking: End, address: str) -> None:
    """Wait until an address answers."""
    command = ("ping", "-c1", "-W1", address)
    eventually(lambda: asking.namespace.run(*command, check=False).returncode == 0, 30, address)

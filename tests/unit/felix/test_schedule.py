"""When the kernel is programmed again, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from calico_openstack.agent.mainloop import MainLoop
from calico_openstack.felix.schedule import ApplySchedule


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.loop: MainLoop[int] = MainLoop(lambda _events: None, clock=lambda: self.now)
        self.schedule = ApplySchedule(self.loop, clock=lambda: self.now)

    def owed(self) -> bool:
        """Return whether an apply is owed, which is then made."""
        due, self.schedule.due = self.schedule.due, False
        return due

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.loop.run_once(0.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.loop.close()


def test_repairs_are_made_at_once_but_not_for_ever(bench: Bench) -> None:
    made = 0
    for _ in range(1000):
        bench.schedule.repair()
        made += bench.owed()
    assert made == 10
    # The last one is not forgotten.
    bench.later(0.11)
    assert bench.owed()
    for _ in range(100):
        bench.schedule.repair()
        bench.later(0.01)
        made += bench.owed()
    assert 18 <= made <= 22
    bench.later(10.0)
    bench.owed()
    bench.schedule.repair()
    assert bench.owed()


def test_what_etcd_tells_is_never_held_back(bench: Bench) -> None:
    for _ in range(100):
        bench.schedule.now()
        assert bench.owed()


def test_retries_come_later_and_later_until_one_succeeds(bench: Bench) -> None:
    bench.schedule.retry()
    assert not bench.owed()
    bench.later(15.0)
    assert bench.owed()
    bench.schedule.retry()
    bench.schedule.succeeded()
    bench.later(15.0)
    assert not bench.owed()


def test_a_deadline_replaces_the_one_before(bench: Bench) -> None:
    bench.schedule.at(105.0, bench.now)
    bench.schedule.at(110.0, bench.now)
    bench.later(6.0)
    assert not bench.owed()
    bench.later(5.0)
    assert bench.owed()
    bench.schedule.at(120.0, bench.now)
    bench.schedule.at(None, bench.now)
    bench.later(20.0)
    assert not bench.owed()

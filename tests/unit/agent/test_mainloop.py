"""MainLoop: everything that is up at a wake-up becomes one pass."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence

import pytest

from calico_openstack.agent.mainloop import MainLoop


class Recorder:
    def __init__(self) -> None:
        self.now = 100.0
        self.passes: list[list[str]] = []
        self.loop: MainLoop[str] = MainLoop(self.work, clock=lambda: self.now)

    def work(self, events: Sequence[str]) -> None:
        self.passes.append(list(events))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.loop.close()


def test_queue_is_drained_before_one_pass(recorder: Recorder) -> None:
    for event in "abc":
        recorder.loop.post(event)
    recorder.loop.run_once(0)
    assert recorder.passes == [["a", "b", "c"]]


def test_idle_pass_has_no_events(recorder: Recorder) -> None:
    recorder.loop.run_once(0)
    assert recorder.passes == [[]]


def test_event_posted_during_a_pass_is_in_the_next(recorder: Recorder) -> None:
    recorder.loop.after(0, lambda: recorder.loop.post("from a timer"))
    recorder.loop.post("a")
    recorder.loop.run_once(0)
    recorder.loop.run_once(60)
    assert [event for events in recorder.passes for event in events] == ["a", "from a timer"]


def test_timers_run_in_order_and_can_be_cancelled(recorder: Recorder) -> None:
    calls: list[str] = []
    recorder.loop.after(2, lambda: calls.append("late"))
    recorder.loop.after(1, lambda: calls.append("early"))
    recorder.loop.after(1, lambda: calls.append("never")).cancel()
    again = recorder.loop.every(1, lambda: calls.append("again"))
    recorder.loop.run_once(0)
    assert calls == []
    recorder.now += 2
    recorder.loop.run_once(60)
    assert calls == ["early", "again", "late"]
    again.cancel()
    recorder.now += 2
    recorder.loop.run_once(0)
    assert calls == ["early", "again", "late"]


def test_descriptor_wakes_the_loop(recorder: Recorder) -> None:
    reader, writer = os.pipe()
    seen: list[bytes] = []
    recorder.loop.add_reader(reader, lambda: seen.append(os.read(reader, 10)))
    os.write(writer, b"x")
    recorder.loop.run_once(60)
    assert seen == [b"x"]
    recorder.loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)


def test_other_threads_wake_and_stop_it(recorder: Recorder) -> None:
    def other() -> None:
        recorder.loop.post("a")
        recorder.loop.stop(129)
        recorder.loop.stop(1)

    thread = threading.Thread(target=other)
    thread.start()
    assert recorder.loop.run() == 129
    thread.join()


def test_signal_wakes_it(recorder: Recorder) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        recorder.loop.on_signal(signal.SIGUSR1, lambda: recorder.loop.stop(3))
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert recorder.loop.run() == 3
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_exception_ends_the_loop() -> None:
    def work(events: Sequence[str]) -> None:
        raise RuntimeError("broken")

    loop: MainLoop[str] = MainLoop(work)
    with pytest.raises(RuntimeError):
        loop.run_once(0)
    loop.close()


def test_fast_producer_waits_until_its_event_was_taken(recorder: Recorder) -> None:
    events = [str(number) for number in range(20)]
    most = 0

    def produce() -> None:
        for event in events:
            recorder.loop.post_when_taken(event, 60)

    producer = threading.Thread(target=produce)
    producer.start()
    while sum(map(len, recorder.passes)) < len(events):
        most = max(most, recorder.loop.queued)
        recorder.loop.run_once(60)
    producer.join()
    assert [event for each in recorder.passes for event in each] == events
    assert most <= 2


def test_producer_is_not_held_up_for_ever(recorder: Recorder) -> None:
    recorder.loop.post_when_taken("a", 60)
    recorder.loop.post_when_taken("b", 0.001)
    recorder.loop.run_once(0)
    assert recorder.passes == [["a", "b"]]

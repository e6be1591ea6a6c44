"""The synchronous core loop of an agent.

One thread does all the work; others only post events. Each wake-up takes everything that has come
up (readable descriptors, due timers, the whole queue) and then makes one pass, so that a burst
costs one transaction and not one an event.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import queue
import selectors
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from calico_openstack.agent.notify import ServiceManager

E = TypeVar("E")

IDLE_INTERVAL: Final = 10.0


class Timer:
    """A callback at a time; made by `MainLoop.after` and `MainLoop.every`."""

    __slots__ = ("callback", "cancelled", "interval")

    def __init__(self, callback: Callable[[], None], interval: float | None) -> None:
        self.callback = callback
        self.interval = interval
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call back any more."""
        self.cancelled = True


class MainLoop(Generic[E]):
    """Waits, collects, and calls *work* with the events that were posted since the last pass.

    *work* is also called, with no events, after a timer or a descriptor called back, and every
    *idle_interval* seconds when nothing happens: its return is the proof of progress that health
    is built on, and what feeds the watchdog of the service *manager* (None: whoever started this
    process). That one is told that the agent is ready after the first pass, unless somebody else
    does because it is *ready_when_running* only in part. Other threads may call `post`,
    `post_when_taken`, `call` and `stop` only, signal handlers `post` and `stop` only.
    """

    def __init__(
        self,
        work: Callable[[Sequence[E]], None],
        *,
        idle_interval: float = IDLE_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        manager: ServiceManager | None = None,
        ready_when_running: bool = True,
    ) -> None:
        self.manager = manager if manager is not None else ServiceManager()
        self._ready_when_running = ready_when_running
        self._work = work
        self._idle_interval = idle_interval
        self._clock = clock
        self._queue: queue.SimpleQueue[E] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._exit_code: int | None = None
        self._taken = threading.Event()
        self._taken.set()

    def post(self, event: E) -> None:
        """Queue an event and wake the loop."""
        self._queue.put(event)
        os.eventfd_write(self._wake, 1)

    def post_when_taken(self, event: E, patience: float) -> None:
        """Queue an event once all earlier ones were taken, at the latest after *patience* seconds.

        A thread that produces faster than the loop works is slowed down by this, in place of
        filling the memory.
        """
        self._taken.wait(patience)
        self._taken.clear()
        self.post(event)

    def call(self, function: Callable[[], None]) -> None:
        """Have *function* called by the loop's own thread, soon."""
        self._calls.put(function)
        os.eventfd_write(self._wake, 1)

    @property
    def queued(self) -> int:
        """How many events wait, about."""
        return self._queue.qsize()

    def stop(self, exit_code: int = 0) -> None:
        """End `run` before its next pass; the first call decides the exit code."""
        if self._exit_code is None:
            self._exit_code = exit_code
        os.eventfd_write(self._wake, 1)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._exit_code is not None

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back once."""
        return self._schedule(seconds, Timer(callback, None))

    def every(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back again and again, *seconds* after each call has returned."""
        return self._schedule(seconds, Timer(callback, seconds))

    def add_reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back when *descriptor* is readable; the callback must read all that is there."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def remove_reader(self, descriptor: int) -> None:
        """Forget a descriptor; do this before closing it."""
        self._selector.unregister(descriptor)

    def on_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """Call back in the main thread when a signal arrives, which also wakes the loop."""

        def handler(_number: int, _frame: object) -> None:
            callback()
            os.eventfd_write(self._wake, 1)

        signal.signal(number, handler)

    def run(self) -> int:
        """Loop until `stop`; return its exit code. An exception of a callback ends the loop."""
        while self._exit_code is None:
            self.run_once(self._idle_interval)
            self.manager.progress()
            if self._ready_when_running:
                self.manager.ready()
        self.manager.stopping()
        return self._exit_code

    def run_once(self, timeout: float) -> None:
        """Wait up to *timeout* seconds for something to do and make one pass."""
        if self._timers:
            timeout = min(timeout, max(0.0, self._timers[0][0] - self._clock()))
        if not self._queue.empty():
            timeout = 0.0
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                key.data()
        self._run_timers()
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()()
        if self._exit_code is None:
            self._work(self._drain())

    def close(self) -> None:
        """Release the descriptors of the loop itself."""
        self._selector.close()
        os.close(self._wake)

    def _drain(self) -> list[E]:
        events = []
        with contextlib.suppress(queue.Empty):
            # Bounded by what is there now: a fast writer must not keep the pass from happening.
            for _ in range(self._queue.qsize()):
                events.append(self._queue.get_nowait())
        self._taken.set()
        return events

    def _schedule(self, seconds: float, timer: Timer) -> Timer:
        heapq.heappush(self._timers, (self._clock() + seconds, next(self._order), timer))
        return timer

    def _run_timers(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            _, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            timer.callback()
            if timer.interval is not None and not timer.cancelled:
                self._schedule(timer.interval, timer)

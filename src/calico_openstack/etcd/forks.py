"""Forks: keep calls and forks apart, and tell sessions that they are in a child.

The gRPC library survives a fork only while none of its calls runs in another thread; otherwise the
child may crash in a mutex that the other thread held. So a fork waits until running calls have
ended, and calls wait until the fork is done. (Starting another program, as subprocess does, is
not affected.) That makes a crash rare and does not rule it out, since threads of the library work
on for a moment after a call, and on streams for as long as those are open. So whoever forks should
do so before the first call, as our processes do: a client without a connection is safe to fork.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Final, Protocol

LONGEST_WAIT: Final = 1.0


class ForkAware(Protocol):
    """What wants to know of a fork."""

    def after_fork(self) -> None:
        """Let go of what belongs to the parent; called in the child."""


class ForkGate:
    """Calls are made inside its ``with`` statement; forks wait for them for up to a second."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._calls = 0
        self._forking = 0

    def __enter__(self) -> ForkGate:
        with self._condition:
            while self._forking:
                self._condition.wait()
            self._calls += 1
        return self

    def __exit__(self, *exception: object) -> None:
        with self._condition:
            self._calls -= 1
            self._condition.notify_all()

    def before_fork(self) -> None:
        """Wait for the calls that run."""
        deadline = time.monotonic() + LONGEST_WAIT
        with self._condition:
            self._forking += 1
            while self._calls and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)

    def after_fork_in_parent(self) -> None:
        """Let calls go on."""
        with self._condition:
            self._forking -= 1
            self._condition.notify_all()

    def after_fork_in_child(self) -> None:
        """Start afresh: the threads that made calls are gone, and the lock may be held by one."""
        self.__init__()  # type: ignore[misc]


gate: Final = ForkGate()
_aware: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def tell(aware: ForkAware) -> None:
    """Tell *aware* of every fork, for as long as it lives."""
    _aware.add(aware)


def _in_child() -> None:
    gate.after_fork_in_child()
    for aware in _aware:
        aware.after_fork()


os.register_at_fork(
    before=gate.before_fork,
    after_in_parent=gate.after_fork_in_parent,
    after_in_child=_in_child,
)

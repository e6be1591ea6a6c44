"""When the kernel is to be programmed again although nothing new has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from calico_openstack.agent.backoff import Backoff
from calico_openstack.agent.mainloop import MainLoop, Timer

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 10.0
# Repairs in a row without a pause, and the pause, in seconds, after which one more may follow.
_REPAIRS: Final = 10
_REPAIR_PAUSE: Final = 0.1


class ApplySchedule:
    """Says by ``due`` that an apply is owed; timers of the loop set it. All times in seconds.

    What etcd tells is programmed as it comes: all that is queued becomes one apply, and the next
    one takes what came meanwhile. Repairs of what others change are rationed: somebody who keeps
    undoing what Felix does must not keep it, and the kernel, busy for ever.
    """

    def __init__(self, loop: MainLoop[Any], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.due = False
        self._loop = loop
        self._clock = clock
        self._repairs = float(_REPAIRS)
        self._counted_at = clock()
        self._repair: Timer | None = None
        self._backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
        self._retry: Timer | None = None
        self._deadline: Timer | None = None

    def now(self) -> None:
        """Owe an apply in the next pass."""
        self.due = True

    def repair(self) -> None:
        """Owe an apply because somebody else changed the kernel: now, or as soon as is fair."""
        if self._repair is not None:
            return
        now = self._clock()
        earned = (now - self._counted_at) / _REPAIR_PAUSE
        self._repairs = min(_REPAIRS, self._repairs + earned)
        self._counted_at = now
        if self._repairs >= 1:
            self._repairs -= 1
            self.due = True
        else:
            self._repair = self._loop.after(_REPAIR_PAUSE, self._repair_now)

    def retry(self) -> None:
        """Owe an apply after a pause that grows from one failure to the next."""
        if self._retry is None:
            self._retry = self._loop.after(self._backoff.next_pause(), self._retry_now)

    def succeeded(self) -> None:
        """Owe no retry any more."""
        self._backoff.reset()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def at(self, deadline: float | None, now: float) -> None:
        """Owe an apply at *deadline*, in place of the one before; None: at no certain time."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if deadline is not None:
            self._deadline = self._loop.after(max(0.0, deadline - now), self._deadline_now)

    def _repair_now(self) -> None:
        self._repair = None
        self.repair()

    def _retry_now(self) -> None:
        self._retry = None
        self.due = True

    def _deadline_now(self) -> None:
        self._deadline = None
        self.due = True

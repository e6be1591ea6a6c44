"""When the kernel is to be programmed again although nothing new has come."""

from __future__ import annotations

from typing import Any, Final

from calico_openstack.agent.backoff import Backoff
from calico_openstack.agent.mainloop import MainLoop, Timer

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 10.0


class ApplySchedule:
    """Says by ``due`` that an apply is owed; timers of the loop set it. All times in seconds."""

    def __init__(self, loop: MainLoop[Any]) -> None:
        self.due = False
        self._loop = loop
        self._backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
        self._retry: Timer | None = None
        self._deadline: Timer | None = None

    def now(self) -> None:
        """Owe an apply in the next pass."""
        self.due = True

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

    def _retry_now(self) -> None:
        self._retry = None
        self.due = True

    def _deadline_now(self) -> None:
        self._deadline = None
        self.due = True

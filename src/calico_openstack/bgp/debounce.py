"""When to act on changes that come in bursts. Pure: time comes in as an argument."""

from __future__ import annotations


class Debounce:
    """Waits until changes have paused for *quiet* seconds, but never longer than *longest*."""

    def __init__(self, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._first: float | None = None
        self._last = 0.0

    def touch(self, now: float) -> None:
        """Note a change."""
        if self._first is None:
            self._first = now
        self._last = now

    @property
    def due_at(self) -> float | None:
        """When to act; None if nothing has changed."""
        if self._first is None:
            return None
        return min(self._last + self._quiet, self._first + self._longest)

    def take(self, now: float) -> bool:
        """Whether the time has come; the changes so far count as acted upon then."""
        due = self.due_at
        if due is None or now < due:
            return False
        self._first = None
        return True

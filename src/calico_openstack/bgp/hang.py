"""Whether a BIRD that leaves questions unanswered hangs or is busy. Pure.

A busy BIRD uses the processor; one that neither answers nor computes is stuck, and is given up
after two questions. A busy one gets half a minute: large tables take their time.
"""

from __future__ import annotations

from typing import Final

STUCK_LIMIT: Final = 2
"""Questions in a row during which nothing was computed."""
BUSY_LIMIT: Final = 30.0
"""Seconds without an answer."""


class HangWatch:
    """Follows the questions to one BIRD."""

    def __init__(self) -> None:
        self._stuck = 0
        self._silent_since: float | None = None

    def answered(self) -> None:
        """Note an answer, or that it is another BIRD from now on."""
        self._stuck = 0
        self._silent_since = None

    def unanswered(self, *, computed: bool, now: float) -> bool:
        """Note that a question was not answered at *now* (seconds), and whether BIRD *computed*
        anything meanwhile; return whether it hangs."""
        if self._silent_since is None:
            self._silent_since = now
        self._stuck = 0 if computed else self._stuck + 1
        return self._stuck >= STUCK_LIMIT or now - self._silent_since >= BUSY_LIMIT

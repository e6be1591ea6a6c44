"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Pauses that double from *first* to *longest* seconds, each shortened by up to a half.

    The random part keeps many hosts that failed together from trying again together.
    """

    def __init__(
        self, first: float, longest: float, *, random_unit: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._longest = longest
        self._random_unit = random_unit
        self._next = first
        self.failures = 0

    def next_pause(self) -> float:
        """Count a failure; return the seconds to wait."""
        pause = self._next * (0.5 + 0.5 * self._random_unit())
        self._next = min(self._next * 2, self._longest)
        self.failures += 1
        return pause

    def reset(self) -> None:
        """Start over, after a success."""
        self._next = self._first
        self.failures = 0

"""Liveness and readiness, built on progress: a component that stops reporting is not live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

_HEADINGS = ("COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL")


class _Reporter(Struct):
    timeout: float
    reports_live: bool
    reports_ready: bool
    live: bool = True
    ready: bool = False
    detail: str = ""
    reported_at: float = 0.0


class Assessment(Struct, frozen=True):
    """The answer to one probe: good or bad, and a table that says why ("" without reporters)."""

    good: bool
    table: str


class Health:
    """Collects reports of named components and assesses them; thread-safe.

    A report counts for the component's timeout in seconds, 0 meaning for ever. A new component is
    live and not ready until it says otherwise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reporters: dict[str, _Reporter] = {}
        self._overrides: dict[str, float] = {}

    def register(
        self, name: str, *, timeout: float = 0.0, live: bool = True, ready: bool = True
    ) -> None:
        """Announce a component and which of the two it will report."""
        with self._lock:
            self._reporters[name] = _Reporter(timeout, live, ready, reported_at=self._clock())

    def unregister(self, name: str) -> None:
        """Forget a component that has done its work."""
        with self._lock:
            self._reporters.pop(name, None)

    def report(self, name: str, *, live: bool = True, ready: bool = True, detail: str = "") -> None:
        """Take a component's report."""
        with self._lock:
            reporter = self._reporters[name]
            reporter.live, reporter.ready, reporter.detail = live, ready, detail
            reporter.reported_at = self._clock()

    def override_timeouts(self, overrides: Mapping[str, float]) -> None:
        """Replace the timeouts of some components (seconds), and restore those of all others."""
        with self._lock:
            self._overrides = dict(overrides)

    def liveness(self) -> Assessment:
        """Assess whether every component makes progress."""
        return self._assess(lambda r: r.reports_live, lambda r: r.live)

    def readiness(self) -> Assessment:
        """Assess whether every component has done what makes the agent useful."""
        return self._assess(lambda r: r.reports_ready, lambda r: r.ready)

    def _assess(
        self, claims: Callable[[_Reporter], bool], holds: Callable[[_Reporter], bool]
    ) -> Assessment:
        with self._lock:
            now = self._clock()
            good = True
            rows: list[tuple[str, ...]] = [
                ("COMPONENT", "TIMEOUT", "LIVENESS", "READINESS", "DETAIL")
            ]
            for name, reporter in sorted(self._reporters.items()):
                timeout = self._overrides.get(name, reporter.timeout)
                late = timeout > 0 and now - reporter.reported_at > timeout
                if claims(reporter):
                    good = good and holds(reporter) and not late
                rows.append(
                    (
                        name,
                        f"{timeout:g}s" if timeout else "-",
                        _word(reporter.reports_live, reporter.live, late, "live"),
                        _word(reporter.reports_ready, reporter.ready, late, "ready"),
                        reporter.detail or "-",
                    )
                )
        return Assessment(good, _table(rows) if len(rows) > 1 else "")


def _word(reports: bool, value: bool, late: bool, word: str) -> str:
    if not reports:
        return "-"
    if late:
        return "timed out"
    return f"reporting {word}" if value else f"reporting non-{word}"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"

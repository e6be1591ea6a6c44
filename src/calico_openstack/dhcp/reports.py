"""Tells of problems when they appear and when they are over, not in between."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from calico_openstack.dhcp.model import Problem

_log = logging.getLogger(__name__)


class ProblemLog:
    """The problems that exist, by where they come from."""

    def __init__(self) -> None:
        self._known: dict[str, frozenset[Problem]] = {}

    @property
    def problems(self) -> list[Problem]:
        """All problems there are, in order."""
        return sorted({problem for found in self._known.values() for problem in found})

    def report(self, source: str, problems: Iterable[Problem]) -> None:
        """State all problems that *source* has now."""
        now, before = frozenset(problems), self._known.get(source, frozenset())
        for problem in sorted(now - before):
            _log.warning("%s", problem)
        for problem in sorted(before - now):
            _log.info("Over: %s", problem)
        if now:
            self._known[source] = now
        else:
            self._known.pop(source, None)

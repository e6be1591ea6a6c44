"""Versions of BIRD and what differs between them."""

from __future__ import annotations

import re
from typing import NamedTuple

_VERSION = re.compile(r"(?:BIRD|version)\s+v?(\d+)\.(\d+)(?:\.(\d+))?", re.IGNORECASE)


class BirdVersion(NamedTuple):
    """A version of BIRD; compares as one expects."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def supported(self) -> bool:
        """Whether the rendered configuration is meant for this version."""
        return self >= OLDEST_SUPPORTED

    @property
    def safe_route_metric(self) -> bool:
        """Whether a changed per-route kernel metric leaves no stale IPv4 route (from 2.16)."""
        return self >= (2, 16)

    @property
    def merges_paths_safely(self) -> bool:
        """Whether equal paths can be merged into one kernel route without losing it.

        Seen with 3.1.8, 3.3.2 and 3.4.0: when the best path gives way to another one with
        ``merge paths``, the kernel's route is removed and comes back with the next scan only.
        """
        return self.major < 3

    @property
    def needs_rescans(self) -> bool:
        """Whether BIRD has to scan the kernel's routes when its own have changed, see `rescans`.

        Seen with 3.1.8, 3.3.2 and 3.4.0.
        """
        return self.major >= 3

    @property
    def shortcomings(self) -> str:
        """What operators must know before they run this version; empty if there is nothing."""
        if self.merges_paths_safely:
            return ""
        return "equal-cost routes are not used; with BIRD 2 they are"

    @property
    def wants_authentication(self) -> bool:
        """Whether ``authentication md5`` belongs beside a password (from 2.17; else an error)."""
        return self >= (2, 17)


OLDEST_SUPPORTED = BirdVersion(2, 0, 12)


def parse_version(text: str) -> BirdVersion | None:
    """Find the version in a greeting, ``show status`` or the output of ``bird --version``."""
    match = _VERSION.search(text)
    if match is None:
        return None
    return BirdVersion(int(match[1]), int(match[2]), int(match[3] or 0))

"""Whether a host still hears from the others of its AS. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.session import Session

PATIENCE: Final = 20.0
"""Seconds without any session within the AS after which a host counts as isolated. A restarted
BIRD is back sooner, and its routes stay in the kernel meanwhile."""


class Connectivity:
    """Notes since when a host has had no session within its AS, in each family.

    A host that has none to have is not isolated: there is nobody whose routes it lacks.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._alone_since: dict[Family, float] = {}

    def isolated(
        self, sessions: Iterable[Session], established: Collection[str], now: float
    ) -> frozenset[Family]:
        """Return the families in which the host is isolated.

        *established* are the names of the sessions that exchange routes.
        """
        internal = [session for session in sessions if session.internal]
        alone = {s.family for s in internal} - {s.family for s in internal if s.name in established}
        self._alone_since = {family: self._alone_since.get(family, now) for family in alone}
        return frozenset(
            family for family, since in self._alone_since.items() if now - since >= self._patience
        )

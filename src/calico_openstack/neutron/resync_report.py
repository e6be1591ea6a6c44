"""What a resynchronisation was asked to look at, and what it found and did."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from calico_openstack import __version__
from calico_openstack.datamodel.comparison import LastComparison
from calico_openstack.neutron.sync import Outcome

_WRITES = (Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED)


@dataclass(frozen=True, slots=True)
class Scope:
    """The ids of the objects to look at; without any, everything.

    A network stands for its subnets and ports, a subnet also for the ports with an address of
    it; with ``include_groups`` ports also stand for the security groups that they are in.
    """

    networks: frozenset[str] = frozenset()
    subnets: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    include_groups: bool = False

    @property
    def is_all(self) -> bool:
        """Whether everything is looked at."""
        return not (self.networks or self.subnets or self.ports or self.groups)

    def as_dict(self) -> dict[str, Any]:
        """Return the scope as data for JSON."""
        return {
            "all": self.is_all,
            "networks": sorted(self.networks),
            "subnets": sorted(self.subnets),
            "ports": sorted(self.ports),
            "security_groups": sorted(self.groups),
            "include_sgs_for_ports": self.include_groups,
        }


ALL = Scope()


@dataclass(slots=True)
class Phase:
    """One kind of object: how many there were on both sides, and what was done.

    ``outcomes`` are those of keys that were not right; in an audit, those that a repair would
    have. ``problems`` are what cannot be honoured. Times are in seconds: ``comparing`` includes
    reading etcd, because one goes on while the other does.
    """

    name: str
    stored: int = 0
    wanted: int = 0
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reading_neutron: float = 0.0
    comparing: float = 0.0
    total: float = 0.0

    def count(self, *outcomes: Outcome) -> int:
        """Return how many keys had one of these outcomes."""
        return sum(outcome in outcomes for outcome in self.outcomes.values())

    @property
    def writes(self) -> int:
        """The number of keys that were written or removed."""
        return self.count(*_WRITES)

    def as_dict(self) -> dict[str, Any]:
        """Return the phase as data for JSON."""
        return {
            "total_ms": _ms(self.total),
            "neutron_read_ms": _ms(self.reading_neutron),
            "compare_ms": _ms(self.comparing),
            "etcd_items": self.stored,
            "neutron_items": self.wanted,
            "correct": max(0, self.wanted - self.count(Outcome.CREATED, Outcome.UPDATED)),
            "created": self.count(Outcome.CREATED),
            "updated": self.count(Outcome.UPDATED),
            "deleted": self.count(Outcome.DELETED),
            "contested": self.count(Outcome.CONTESTED),
            "keys": {key: outcome.value for key, outcome in sorted(self.outcomes.items())},
            "problems": self.problems,
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(slots=True)
class Report:
    """What a resynchronisation found and did; ``audit`` tells that it wrote nothing."""

    scope: Scope
    audit: bool = False
    phases: list[Phase] = field(default_factory=list)
    started_at: str = field(default_factory=_now)
    finished_at: str = ""
    total: float = 0.0
    error: str | None = None

    @property
    def writes(self) -> int:
        """The number of keys that were, or in an audit would be, written or removed."""
        return sum(phase.writes for phase in self.phases)

    @property
    def contested(self) -> int:
        """The number of keys that others kept writing."""
        return sum(phase.count(Outcome.CONTESTED) for phase in self.phases)

    def finish(self, seconds: float, error: str | None = None) -> None:
        """Note the end."""
        self.total, self.error, self.finished_at = seconds, error, _now()

    def summary(self, interval: float, reason: str) -> LastComparison:
        """Return what operators read of it; see `LastComparison`."""
        outcomes = {key: each for phase in self.phases for key, each in phase.outcomes.items()}
        return LastComparison(
            time=round(time.time(), 3),
            server=socket.gethostname(),
            version=__version__,
            interval=interval,
            differing=self.writes,
            contested=self.contested,
            keys=tuple(sorted(outcomes)),
            error=self.error or "",
            reason=reason,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as data for JSON; times are ISO 8601 in UTC."""
        return {
            "scope": self.scope.as_dict(),
            "audit": self.audit,
            "phases": {phase.name: phase.as_dict() for phase in self.phases},
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "total_ms": _ms(self.total),
            "writes": self.writes,
            "ok": self.error is None,
            "error": self.error,
        }


def merged(outcomes: Iterable[tuple[str, Outcome]]) -> dict[str, Outcome]:
    """Return the outcomes of keys that were not right."""
    return {key: outcome for key, outcome in outcomes if outcome is not Outcome.UNCHANGED}

"""Holds deletions that look like a mistake: most of the cluster's endpoints at once. Pure.

Neutron's driver deletes what it deletes one by one. When more than a share of all endpoints, or of
all network policies, vanishes in one revision of etcd, somebody has deleted a whole prefix, or an
old backup was restored; then everything that this revision deletes is held, and the kernel stays as
it is. What is stored again, by the driver's resynchronisation, is held no longer. The rest is let
go when so much has come back that it no longer looks like a mistake, and nothing more comes; or
after a time; or when the brake is switched off.

etcd tells of one revision prefix by prefix. What many endpoints depend on (policies, tiers,
configuration and the like) is therefore not deleted at once, but after a moment in which the rest
of its revision may show itself.

While something is held, an address that Neutron meanwhile gives to another port still counts as a
member of the old one's groups. That is why nothing is held for ever unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.configuration import ClusterInformation, FelixConfiguration
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    Tier,
)
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.etcd import Update

# Fewer than this are never held: small clouds are emptied in earnest.
FEWEST: Final = 20
# For so long, in seconds, nothing more must have come back before the rest is let go.
QUIET: Final = 120.0
MOMENT: Final = 0.5

COUNTED: Final = {
    WorkloadEndpoint.KIND: prefix_of(WorkloadEndpoint.KIND),
    NetworkPolicy.KIND: prefix_of(NetworkPolicy.KIND),
}
_SHARED: Final = tuple(
    prefix_of(kind)
    for kind in (
        ClusterInformation.KIND,
        FelixConfiguration.KIND,
        Tier.KIND,
        IPPool.KIND,
        Profile.KIND,
        NetworkPolicy.KIND,
        GlobalNetworkPolicy.KIND,
        NetworkSet.KIND,
        GlobalNetworkSet.KIND,
    )
)


class BrakeSettings(Struct, frozen=True):
    """*percent* of a kind's objects that may vanish at once, 0: any number, nothing is held.

    What is held is let go after *longest* seconds, 0: never.
    """

    percent: int = 50
    longest: float = 3600.0


class MassDeletionBrake:
    """Stands between what etcd tells and what is done about it."""

    def __init__(self) -> None:
        self._held: dict[str, Update] = {}
        self._since = 0.0
        self._last_return = 0.0
        # Revisions that deleted too much, and deletions whose revision may yet turn out to.
        self._revisions: set[int] = set()
        self._waiting: dict[str, tuple[float, Update]] = {}

    @property
    def waiting(self) -> bool:
        """Whether `release` may have something soon, in a moment or much later."""
        return bool(self._held or self._waiting)

    @property
    def held(self) -> int:
        """How many deletions are held now."""
        return len(self._held)

    def take(
        self,
        updates: Sequence[Update],
        left: Mapping[str, int],
        settings: BrakeSettings,
        now: float,
    ) -> Sequence[Update]:
        """Return those of *updates* that may be acted upon.

        *left* is the number of objects of each kind that etcd has after them.
        """
        if not self.waiting and all(update.value is not None for update in updates):
            return updates
        if self.waiting:
            for update in updates:
                if update.value is not None:
                    self._waiting.pop(update.key, None)
                    if self._held.pop(update.key, None) is not None:
                        self._last_return = now
        suspicious = self._suspicious(updates, left, settings)
        if suspicious:
            self._revisions |= suspicious
            self._since = self._last_return = now
        # What is stored again behind its deletion is none; a key's last update counts.
        last = {update.key: update.value for update in updates}
        passed = []
        for update in updates:
            if update.value is not None:
                passed.append(update)
            elif last[update.key] is not None:
                continue
            elif update.mod_revision in self._revisions:
                self._held[update.key] = update
            elif settings.percent and update.key.startswith(_SHARED):
                self._waiting[update.key] = now + MOMENT, update
            else:
                passed.append(update)
        return passed

    def release(
        self, left: Mapping[str, int], settings: BrakeSettings, now: float
    ) -> Sequence[Update]:
        """Return the deletions that are to be carried out now."""
        due = [
            update
            for at, update in list(self._waiting.values())
            if now >= at or update.mod_revision in self._revisions
        ]
        released: list[Update] = []
        for update in due:
            del self._waiting[update.key]
            if update.mod_revision in self._revisions:
                self._held[update.key] = update
            else:
                released.append(update)
        if self._held and self._lets_go(left, settings, now):
            released += self._held.values()
            self._held.clear()
        if not self._held:
            self._revisions.clear()
        return released

    def _lets_go(self, left: Mapping[str, int], settings: BrakeSettings, now: float) -> bool:
        expired = settings.longest > 0 and now - self._since >= settings.longest
        quiet = now - self._last_return >= QUIET
        restored = quiet and not self._many(_counts(self._held.values()), left, settings)
        return settings.percent == 0 or expired or restored

    def _suspicious(
        self, updates: Sequence[Update], left: Mapping[str, int], settings: BrakeSettings
    ) -> set[int]:
        """Return the revisions that delete too much."""
        if settings.percent == 0 or len(updates) < FEWEST:
            return set()
        revisions: dict[int, list[Update]] = {}
        for update in updates:
            if update.value is None:
                revisions.setdefault(update.mod_revision, []).append(update)
        return {
            revision
            for revision, deletions in revisions.items()
            if len(deletions) >= FEWEST and self._many(_counts(deletions), left, settings)
        }

    def _many(
        self, deleted: Counter[str], left: Mapping[str, int], settings: BrakeSettings
    ) -> bool:
        return any(
            number >= FEWEST and number * 100 > settings.percent * (left.get(kind, 0) + number)
            for kind, number in deleted.items()
        )


def _counts(deletions: Iterable[Update]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for update in deletions:
        for kind, prefix in COUNTED.items():
            if update.key.startswith(prefix):
                counts[kind] += 1
    return counts

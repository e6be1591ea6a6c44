"""What is to be written into etcd about endpoints: the newest status, and no transition lost. Pure.

A status may change several times before it can be written. Only the newest counts, except that
"up, down, up again" must not look like nothing: whoever reads must get to see the "down".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, islice

from calico_openstack.agent.delta import DeltaTracker

Change = tuple[str, str | None]
"""A key and its new status, as it is stored; None: the key is to be removed."""


class StatusQueue:
    """The wanted status of every key, what etcd is believed to hold, and what is left to write.

    Unknown until `resync` is what an earlier life of this agent, or somebody else, wrote.
    """

    def __init__(self) -> None:
        self._tracker: DeltaTracker[str, str] = DeltaTracker()
        # Statuses that a key had for a moment, to be written before its newest one.
        self._passed: dict[str, str] = {}

    def __len__(self) -> int:
        tracker = self._tracker
        return len(tracker.pending_updates) + len(tracker.pending_deletions) + len(self._passed)

    @property
    def wanted(self) -> Mapping[str, str]:
        """The status of every key as it should be."""
        return self._tracker.desired

    def want(self, key: str, status: str | None) -> None:
        """Take up the newest status of *key*; None: there is nothing to tell any more."""
        if status is None:
            self._passed.pop(key, None)
            self._tracker.delete_desired(key)
            return
        pending = self._tracker.pending_updates.get(key)
        if pending is not None and pending != status and self._tracker.actual.get(key) == status:
            self._passed[key] = pending
        self._tracker.set_desired(key, status)

    def resync(self, found: Mapping[str, str]) -> None:
        """Take up what etcd really holds; wrong, superfluous and missing keys become pending."""
        self._tracker.replace_actual(found)

    def next_batch(self, limit: int) -> list[Change]:
        """Return up to *limit* changes to write now, each key once."""
        batch: list[Change] = list(islice(self._passed.items(), limit))
        tracker, passed = self._tracker, self._passed
        rest = chain(
            ((key, None) for key in tracker.pending_deletions),
            ((key, status) for key, status in tracker.pending_updates.items() if key not in passed),
        )
        batch += islice(rest, limit - len(batch))
        return batch

    def written(self, batch: Iterable[Change]) -> None:
        """Record that *batch* was written."""
        for key, status in batch:
            if status is not None and self._passed.get(key) == status:
                del self._passed[key]
            if status is None:
                self._tracker.delete_actual(key)
            else:
                self._tracker.set_actual(key, status)

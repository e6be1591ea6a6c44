"""Desired and actual state with the difference between them kept up to date.

One structure serves everything that is reconciled: nft objects, routes, neighbours, BIRD's peers,
dnsmasq's hosts, etcd keys. Callers state what they want (`DeltaTracker.set_desired`) and what they
found or wrote (`DeltaTracker.set_actual`); what is left to do is always at hand and costs time in
proportion to the difference, not to the state. Pure.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class MappingView(Mapping[K, V]):
    """A live read-only view of a dictionary."""

    __slots__ = ("_data",)

    def __init__(self, data: dict[K, V]) -> None:
        self._data = data

    def __getitem__(self, key: K) -> V:
        return self._data[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def items(self) -> ItemsView[K, V]:
        """Return the dictionary's own view: faster than the one that Mapping builds."""
        return self._data.items()

    def keys(self) -> KeysView[K]:
        """Return the dictionary's own view."""
        return self._data.keys()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data!r})"


class DeltaTracker(Generic[K, V]):
    """Two maps, *desired* and *actual*, and their difference.

    Values are compared with ``==`` and must not be changed in place once handed over. Iterate over
    a copy (``list(tracker.pending_updates.items())``) when the loop itself changes the tracker.
    """

    __slots__ = ("_actual", "_deletions", "_desired", "_updates")

    def __init__(self) -> None:
        self._desired: dict[K, V] = {}
        self._actual: dict[K, V] = {}
        self._updates: dict[K, V] = {}
        # A dictionary used as a set: it keeps the order in which things became unwanted.
        self._deletions: dict[K, None] = {}

    @property
    def desired(self) -> Mapping[K, V]:
        """What is wanted, as a live view."""
        return MappingView(self._desired)

    @property
    def actual(self) -> Mapping[K, V]:
        """What is believed to be there, as a live view."""
        return MappingView(self._actual)

    @property
    def pending_updates(self) -> Mapping[K, V]:
        """What must be written: wanted, and absent or different. A live view."""
        return MappingView(self._updates)

    @property
    def pending_deletions(self) -> AbstractSet[K]:
        """What must be removed: there, and not wanted. A live view."""
        return self._deletions.keys()

    @property
    def in_sync(self) -> bool:
        """Whether nothing is left to do."""
        return not self._updates and not self._deletions

    def set_desired(self, key: K, value: V) -> None:
        """Want *key* to have *value*."""
        self._desired[key] = value
        self._compare(key)

    def delete_desired(self, key: K) -> None:
        """Stop wanting *key*; unknown keys are no error."""
        self._desired.pop(key, None)
        self._compare(key)

    def replace_desired(self, desired: Mapping[K, V]) -> None:
        """Want exactly *desired* (copied)."""
        replacement = dict(desired)
        self._desired.clear()
        self._desired.update(replacement)
        self._compare_all()

    def set_actual(self, key: K, value: V) -> None:
        """Record that *key* has *value*."""
        self._actual[key] = value
        self._compare(key)

    def delete_actual(self, key: K) -> None:
        """Record that *key* is absent; unknown keys are no error."""
        self._actual.pop(key, None)
        self._compare(key)

    def replace_actual(self, actual: Mapping[K, V]) -> None:
        """Record that exactly *actual* (copied) is there, as after a read-back."""
        replacement = dict(actual)
        self._actual.clear()
        self._actual.update(replacement)
        self._compare_all()

    def _compare(self, key: K) -> None:
        actual, desired = self._actual, self._desired
        if key in desired:
            self._deletions.pop(key, None)
            value = desired[key]
            if key in actual and actual[key] == value:
                self._updates.pop(key, None)
            else:
                self._updates[key] = value
        else:
            self._updates.pop(key, None)
            if key in actual:
                self._deletions[key] = None
            else:
                self._deletions.pop(key, None)

    def _compare_all(self) -> None:
        actual, desired = self._actual, self._desired
        # In place, so that views that were handed out stay live.
        self._updates.clear()
        self._updates.update(
            (key, value)
            for key, value in desired.items()
            if key not in actual or actual[key] != value
        )
        self._deletions.clear()
        self._deletions.update((key, None) for key in actual if key not in desired)

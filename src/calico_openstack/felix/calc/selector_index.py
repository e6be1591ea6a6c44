"""Finds the selectors that may match a set of labels without trying all of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from calico_openstack.datamodel.selector import Selector

T = TypeVar("T", bound=Hashable)

_Place = tuple[str, str | None] | None
"""Label and value, or label alone, or neither: where a selector is filed."""


class SelectorIndex(Generic[T]):
    """Selectors filed under a label that they require; each belongs to a user-chosen *item*.

    A selector that requires several labels is filed under the one with the fewest selectors so
    far: "has the group's label and is in the namespace" goes under the group. A selector that
    requires one of several values is filed under each. What requires nothing is always tried.
    """

    def __init__(self) -> None:
        self._selectors: dict[T, Selector] = {}
        self._places: dict[T, tuple[_Place, ...]] = {}
        self._filed: dict[_Place, dict[T, None]] = {}
        self._size: dict[str, int] = {}
        # How often a selector was tried, by whether it matched.
        self.tried = {True: 0, False: 0}

    def count(self) -> tuple[int, int]:
        """Return how many selectors are filed under a label, and how many are always tried."""
        always = len(self._filed.get(None, ()))
        return len(self._selectors) - always, always

    def add(self, item: T, selector: Selector) -> None:
        """File a selector, in place of the item's previous one."""
        self.discard(item)
        places = self._choose(selector)
        self._selectors[item] = selector
        self._places[item] = places
        for place in places:
            self._filed.setdefault(place, {})[item] = None
            if place:
                self._size[place[0]] = self._size.get(place[0], 0) + 1

    def discard(self, item: T) -> None:
        """Forget an item if it is there."""
        if self._selectors.pop(item, None) is None:
            return
        for place in self._places.pop(item):
            filed = self._filed[place]
            del filed[item]
            if not filed:
                del self._filed[place]
            if place:
                self._size[place[0]] -= 1
                if not self._size[place[0]]:
                    del self._size[place[0]]

    def matching(self, labels: Mapping[str, str]) -> Iterator[T]:
        """Yield every item whose selector matches *labels*, once."""
        selectors = self._selectors
        filed, tried = self._filed, self.tried
        for item in filed.get(None, ()):
            matches = selectors[item].matches(labels)
            tried[matches] += 1
            if matches:
                yield item
        for label, value in labels.items():
            if label not in self._size:
                continue
            for place in ((label, None), (label, value)):
                for item in filed.get(place, ()):
                    matches = selectors[item].matches(labels)
                    tried[matches] += 1
                    if matches:
                        yield item

    def _choose(self, selector: Selector) -> tuple[_Place, ...]:
        required = selector.required
        if not required:
            return (None,)
        label = min(required, key=lambda name: (self._size.get(name, 0), name))
        values = required[label]
        if values is None:
            return ((label, None),)
        return tuple((label, value) for value in sorted(values))

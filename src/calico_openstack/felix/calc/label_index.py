"""Finds the label maps that a selector may match without trying all of them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Generic, TypeVar

from calico_openstack.datamodel.selector import Selector

T = TypeVar("T", bound=Hashable)


class LabelIndex(Generic[T]):
    """Items under the labels that they have: the counterpart of `SelectorIndex`."""

    def __init__(self) -> None:
        self._items: dict[T, None] = {}
        self._by_label: dict[str, dict[T, None]] = {}

    def __contains__(self, label: str) -> bool:
        """Tell whether an item has a label."""
        return label in self._by_label

    def add(self, item: T, labels: Iterable[str]) -> None:
        """Enter an item that is not there under its labels."""
        self._items[item] = None
        by_label = self._by_label
        for label in labels:
            filed = by_label.get(label)
            if filed is None:
                by_label[label] = {item: None}
            else:
                filed[item] = None

    def remove(self, item: T, labels: Iterable[str]) -> None:
        """Take out an item that was entered under *labels*."""
        del self._items[item]
        for label in labels:
            filed = self._by_label[label]
            del filed[item]
            if not filed:
                del self._by_label[label]

    def candidates(self, selector: Selector) -> Collection[T]:
        """Return the items that *selector* may match: those with its rarest required label."""
        required = selector.required
        if not required:
            return self._items.keys()
        return min((self._by_label.get(label, {}).keys() for label in required), key=len)

"""One nftables table under construction: the state, and what changed in it."""

from __future__ import annotations

from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import Chain, Element, ElementValue, Set, TableState


class TableWriter:
    """Writes to a table's state and notes the names of what really changed."""

    def __init__(self, state: TableState) -> None:
        self.state = state
        self._delta = TableDelta()

    def take_delta(self) -> TableDelta:
        """Return what changed since the last call."""
        delta, self._delta = self._delta, TableDelta()
        return delta

    def put_chain(self, name: str, chain: Chain) -> None:
        """Write a chain with its rules."""
        if self.state.chains.get(name) != chain:
            self.state.chains[name] = chain
            self._delta.chains.add(name)

    def remove_chain(self, name: str) -> None:
        """Remove a chain."""
        del self.state.chains[name]
        self._delta.chains.add(name)

    def add_flowtable(self, name: str) -> None:
        """Add a flowtable."""
        self.state.flowtables.add(name)
        self._delta.flowtables.add(name)

    def add_set(self, name: str, kind: Set, elements: dict[Element, ElementValue]) -> None:
        """Add a set that is not there yet, with its elements, which it keeps."""
        self.state.sets[name] = kind
        self.state.elements[name] = elements
        self._delta.sets.add(name)
        self._delta.elements.pop(name, None)

    def remove_set(self, name: str) -> None:
        """Remove a set and its elements."""
        del self.state.sets[name]
        del self.state.elements[name]
        self._delta.sets.add(name)
        self._delta.elements.pop(name, None)

    def put_element(self, name: str, element: Element, value: ElementValue = None) -> None:
        """Write an element of a set."""
        elements = self.state.elements[name]
        if element not in elements or elements[element] != value:
            elements[element] = value
            self._note(name, element)

    def remove_element(self, name: str, element: Element) -> None:
        """Remove an element if it is there."""
        elements = self.state.elements[name]
        if element in elements:
            del elements[element]
            self._note(name, element)

    def _note(self, name: str, element: Element) -> None:
        if name not in self._delta.sets:
            self._delta.elements.setdefault(name, set()).add(element)

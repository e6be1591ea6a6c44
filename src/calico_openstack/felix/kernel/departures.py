"""Flows that must end because an address left, or leads elsewhere now.

Established flows are accepted and translated by what is remembered of them: a flow of an address
that has another owner now, or of a floating address that leads to another workload, would go on to
the old one.
"""

from __future__ import annotations

from collections.abc import Mapping

from calico_openstack.felix.kernel.conntrack import ConntrackTable
from calico_openstack.felix.render.dataplane import Address


class Departures:
    """Remembers what is to be ended until it was; see `end`."""

    def __init__(self, conntrack: ConntrackTable) -> None:
        self._conntrack = conntrack
        self._left: set[Address] = set()
        self._moved: set[Address] = set()

    def __bool__(self) -> bool:
        return bool(self._left or self._moved)

    def left(self, address: Address) -> None:
        """Note that *address* left this host, or moved to another interface."""
        self._left.add(address)

    def moved(self, external: Address) -> None:
        """Note that an external address leads, or may lead, elsewhere than before."""
        self._moved.add(external)

    def end(self, translations: Mapping[Address, Address]) -> None:
        """Delete the flows concerned, given what external addresses lead to now. Raises OSError.

        A flow to an external address may stay if it leads to where it should: to the internal
        address, and without one to the external address itself.
        """
        if self._left:
            self._conntrack.delete_of_addresses(self._left)
            self._left.clear()
        if self._moved:
            self._conntrack.delete(
                [
                    flow
                    for flow in self._conntrack.flows_to(self._moved)
                    if flow.reply.source
                    != translations.get(flow.original.destination, flow.original.destination)
                ]
            )
            self._moved.clear()

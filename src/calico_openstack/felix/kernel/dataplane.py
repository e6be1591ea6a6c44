"""The kernel as one thing that can be made what it should be.

Puts the drivers in order. What is added must be protected before traffic can reach it: kernel
parameters, limits of bandwidth, nftables, neighbours, routes. What is removed loses its traffic
first: routes, neighbours, nftables. Within nftables one transaction makes order invisible.

A limit of bandwidth that the kernel cannot keep is reported, and its endpoint works without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from calico_openstack.felix.kernel.affected import interfaces_affected
from calico_openstack.felix.kernel.conntrack import ConntrackTable
from calico_openstack.felix.kernel.departures import Departures
from calico_openstack.felix.kernel.flowtables import FlowtableDriver
from calico_openstack.felix.kernel.interfaces import Interface, InterfaceMonitor
from calico_openstack.felix.kernel.neighbours import NeighbourDriver
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.kernel.parameters import ParameterDriver
from calico_openstack.felix.kernel.qdiscs import QdiscDriver
from calico_openstack.felix.kernel.routes import RouteDriver, RouteOwnership
from calico_openstack.felix.render import names
from calico_openstack.felix.render.dataplane import (
    DataplaneDelta,
    DesiredDataplane,
)
from calico_openstack.felix.render.nft import Table
from calico_openstack.netlink.batch import BatchWriter

_NFTABLES: Final = "nftables"


class InterfaceStatus(Struct, frozen=True):
    """How far a wanted workload interface is served.

    It is *up* when its link has its carrier, *enabled* when it is set up, with or without.
    ``problems`` says what could not be programmed for it.
    """

    present: bool
    up: bool
    problems: tuple[str, ...] = ()
    enabled: bool = False

    @property
    def working(self) -> bool:
        """Whether its endpoint may be reported up."""
        return self.up and not self.problems

    @property
    def prepared(self) -> bool:
        """Whether a workload that is yet to come would be served at once."""
        return self.enabled and not self.problems


class Audits(Struct):
    """What audits have found: when the last one was (monotonic), what it and all have repaired."""

    at: float | None = None
    repaired: int = 0
    repaired_in_all: int = 0

    def note(self, repaired: int, now: float) -> None:
        """Take up an audit that has just ended."""
        self.at, self.repaired = now, repaired
        self.repaired_in_all += repaired


class Dataplane:
    """Makes the kernel of the namespace in which it is created what a `DesiredDataplane` says.

    All times are the caller's monotonic clock, in seconds. After `apply` returned, ``needs_apply``
    tells whether another try, after a pause, makes sense. ``readdressed`` is how many interfaces
    got or lost addresses by the last notifications; ``observe_conntrack_wait`` is told how many
    seconds it took to end the flows of addresses that left.
    """

    def __init__(self, tables: Iterable[Table], ownership: RouteOwnership, now: float) -> None:
        self._writer = BatchWriter()
        self._monitor = InterfaceMonitor(self._writer.socket.port, now)
        self._parameters = ParameterDriver(self._monitor)
        self._nft = NftDriver(tables)
        self.flowtables = FlowtableDriver(self._nft)
        self._neighbours = NeighbourDriver(self._writer, self._monitor, ownership.keeps)
        self._routes = RouteDriver(self._writer, self._monitor, ownership)
        self._qdiscs = QdiscDriver(self._writer, self._monitor, ownership.is_workload)
        self.conntrack = ConntrackTable()
        self._first = True
        self._audited_from: int | None = None
        self.audits = Audits()
        self.readdressed = 0
        self.observe_conntrack_wait: Callable[[float], object] = lambda _seconds: None
        self._departures = Departures(self.conntrack)
        self._stage_failures: dict[str, str] = {}
        self._statuses: dict[str, InterfaceStatus] = {}
        self._unreported: set[str] = set()
        self._unprotected: frozenset[str] = frozenset()

    def close(self) -> None:
        """Close all sockets; the kernel stays as it is."""
        self._monitor.close()
        self._nft.close()
        self._qdiscs.close()
        self._writer.close()
        self.conntrack.close()

    # --- looking --------------------------------------------------------------------------------

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors that become readable when `read_notifications` has work."""
        return (self._monitor.fileno(), self._nft.fileno())

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """All interfaces of the host by name."""
        return self._monitor.interfaces

    def interfaces_with_metric(self, metrics: Mapping[int, int]) -> set[str]:
        """Return the workload interfaces that have a route of these *metrics*, by IP version.

        Read from the kernel; raises OSError when that is not possible.
        """
        return self._routes.interfaces_with_metric(metrics)

    @property
    def nft(self) -> NftDriver:
        """The driver of nftables, to be asked for its figures only."""
        return self._nft

    @property
    def routes_size(self) -> tuple[int, int]:
        """How many routes are ours in the kernel, and over how many interfaces some are wanted."""
        return self._routes.size

    def observe_route_resyncs(self, observe: Callable[[float], object]) -> None:
        """Tell *observe* from now on how many seconds each reading of all routes took."""
        self._routes.observe_resync = observe

    @property
    def writes(self) -> int:
        """How many changes the kernel has carried out for us."""
        return (
            self._parameters.writes
            + self._nft.writes
            + self._neighbours.writes
            + self._routes.writes
            + self._qdiscs.writes
            + self.conntrack.deletions
        )

    @property
    def needs_apply(self) -> bool:
        """Whether something is not as it should be, as far as known, or must be looked at."""
        return bool(
            self._first
            or self._nft.needs_apply
            or self._neighbours.needs_apply
            or self._routes.needs_apply
            or self._qdiscs.needs_apply
            or self._parameters.needs_apply
            or self._departures
            or self._stage_failures
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """All that could not be programmed, for the log and for metrics."""
        return (
            *(f"{stage}: {reason}" for stage, reason in self._stage_failures.items()),
            *(f"{subject}: {reason}" for subject, reason in self._nft.failures.items()),
            *(f"route {to}: {reason}" for to, reason in self._routes.failures.items()),
            *(
                f"neighbour {key.address} on {key.interface}: {reason}"
                for key, reason in self._neighbours.failures.items()
            ),
            *map(str, self._parameters.failures),
            *(f"bandwidth of {name}: {reason}" for name, reason in self._qdiscs.failures.items()),
        )

    def next_deadline(self) -> float | None:
        """Return when `apply` should run again though nothing happens; None for never."""
        return self._routes.next_deadline()

    def status(self, name: str) -> InterfaceStatus:
        """Return how far the interface *name* is served, as of the last `apply`."""
        return self._statuses.get(name) or InterfaceStatus(present=False, up=False)

    @property
    def unprotected(self) -> frozenset[str]:
        """Interfaces of which rules were refused by the last `apply`; "" stands for all."""
        return self._unprotected

    def translates(self, external: bytes) -> bool:
        """Tell whether the kernel leads an external address elsewhere, as of the last `apply`."""
        return any(
            self._nft.has_element(table, names.FLOATING, external) for table in self._nft.tables
        )

    def read_notifications(self, now: float) -> set[str]:
        """Take in what others changed; return the names of interfaces that differ.

        `apply` then repairs what is not as it should be.
        """
        changes = self._monitor.read(now)
        self.readdressed = len(changes.addressed)
        for received in changes.routes:
            self._routes.notified(received, now)
        for received in changes.neighbours:
            self._neighbours.notified(received)
        for received in changes.disciplines:
            self._qdiscs.notified(received)
        for received in changes.parameters:
            self._parameters.notified(received)
        if changes.overrun:
            self._parameters.mark_stale()
        if changes.overrun or changes.renamed:
            self._routes.mark_stale()
            self._neighbours.mark_stale()
            self._qdiscs.mark_stale()
        self._interfaces_changed(changes.names, changes.interrupted)
        self._nft.read_notifications()
        return changes.names

    def audit(self, now: float) -> set[str]:
        """Distrust all that is known; the next `apply` reads everything and repairs it.

        Objects that were refused are tried again. Returns the interfaces that differ, of which no
        notification told.
        """
        changes = self._monitor.resync(now)
        self._audited_from = self.writes
        self._interfaces_changed(changes.names, changes.interrupted)
        self._nft.audit()
        self.flowtables.changed()
        self._nft.retry()
        self._routes.mark_stale()
        self._neighbours.mark_stale()
        self._qdiscs.mark_stale()
        self._parameters.mark_stale()
        return changes.names

    def _note_moved(self) -> None:
        for network in self._routes.moved:
            self._departures.left(network.network_address)
        self._routes.moved.clear()

    def _interfaces_changed(self, names: set[str], interrupted: set[int]) -> None:
        self._routes.interfaces_changed(names, interrupted)
        self._note_moved()
        self._neighbours.interfaces_changed(names, interrupted)
        self._qdiscs.interfaces_changed(names)
        if names:
            self.flowtables.changed()
            self._nft.interfaces_changed({name: self._monitor.index_of(name) for name in names})
        self._unreported |= self._parameters.interfaces_changed(names)

    # --- applying -------------------------------------------------------------------------------

    def apply(self, desired: DesiredDataplane, changed: DataplaneDelta, now: float) -> set[str]:
        """Make the kernel what is *desired*, given that only *changed* differs from last time.

        Returns the wanted interfaces whose `status` differs from before. Nothing is raised: what
        fails is told by ``failures`` and kept for the next call.
        """
        self._take_wishes(desired, changed)
        self._stage_failures.clear()
        if self._first:
            self._attempt(_NFTABLES, self._note_found_translations)
        self._first = False
        self._attempt("routes", lambda: self._routes.remove(now))
        self._attempt("neighbours", self._neighbours.remove)
        self._unreported |= self._parameters.apply()
        self._qdiscs.apply()
        protected = self._attempt(_NFTABLES, lambda: self._apply_nft(desired, changed))
        if any(state.flowtables for state in desired.ruleset.values()):
            self._attempt("flowtables", lambda: self._cover(desired))
        if self._departures:
            began = time.monotonic()
            self._attempt("conntrack", lambda: self._departures.end(desired.translations))
            self.observe_conntrack_wait(time.monotonic() - began)
        if protected:
            # Without its rules a new endpoint gets no traffic.
            self._attempt("neighbours", self._neighbours.add)
            self._attempt("routes", self._routes.add)
        if self._audited_from is not None:
            # What was wanted anew just now is no repair.
            self.audits.note(0 if changed else self.writes - self._audited_from, now)
            self._audited_from = None
        return self._update_statuses(desired)

    def _take_wishes(self, desired: DesiredDataplane, changed: DataplaneDelta) -> None:
        # At first everything counts as changed, whatever the caller says.
        first = self._first
        for name in desired.peers if first else changed.peers:
            self._routes.set_peer(name, name in desired.peers)
        for network in desired.routes if first else changed.routes:
            route = desired.routes.get(network)
            if route is None and self._routes.wanted(network) is not None:
                self._departures.left(network.network_address)
            self._routes.set_wanted(network, route)
        self._note_moved()
        for key in desired.neighbours if first else changed.neighbours:
            self._neighbours.set_wanted(key, desired.neighbours.get(key))
        # Who was here before this process began has been asked long ago.
        for key in () if first else changed.arrivals & desired.arrivals.keys():
            self._neighbours.suggest(key, desired.arrivals[key])
        for name in desired.interfaces if first else changed.interfaces:
            self._unreported.add(name)
            self.flowtables.changed()
            self._parameters.set_wanted(name, desired.interfaces.get(name))
        for name in desired.shaping if first else changed.shaping:
            self._qdiscs.set_wanted(name, desired.shaping.get(name))
        for external in desired.translations if first else changed.translations:
            self._departures.moved(external)
        self._parameters.set_wanted_globals(
            desired.globals if first else changed.globals, desired.globals
        )

    def _note_found_translations(self) -> None:
        """Count what a previous run has left in the kernel as changed too: it may be unwanted."""
        self._nft.resync()
        for table in self._nft.tables:
            for external in self._nft.elements(table, names.FLOATING):
                if isinstance(external, bytes):
                    self._departures.moved(ip_address(external))

    def _attempt(self, stage: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except OSError as error:
            self._stage_failures[stage] = error.strerror or str(error)
            return False
        return True

    def _apply_nft(self, desired: DesiredDataplane, changed: DataplaneDelta) -> None:
        failed_before = bool(self._nft.failures)
        self._nft.apply(desired.ruleset, changed.tables)
        if failed_before or self._nft.failures:
            self._unreported.update(self._parameters.interfaces)

    def _cover(self, desired: DesiredDataplane) -> None:
        tables = [table for table, state in desired.ruleset.items() if state.flowtables]
        self.flowtables.apply(tables, desired.interfaces.keys(), self._monitor.interfaces)

    # --- status ---------------------------------------------------------------------------------

    def _update_statuses(self, desired: DesiredDataplane) -> set[str]:
        refused = self._refusals(desired)
        names = (
            self._parameters.interfaces.keys() | self._statuses.keys()
            if refused
            else self._unreported
        )
        different = set()
        for name in names:
            before = self._statuses.pop(name, None)
            if name in self._parameters.interfaces:
                self._statuses[name] = self._current_status(name, refused)
            if self._statuses.get(name) != before:
                different.add(name)
        # What had a problem now is looked at again next time, when it may have none.
        self._unreported = {name for name in names if self.status(name).problems}
        return different

    def _current_status(self, name: str, refused: dict[str, list[str]]) -> InterfaceStatus:
        interface = self._monitor.interfaces.get(name)
        if interface is None:
            return InterfaceStatus(present=False, up=False)
        fatal = (str(one) for one in self._parameters.interface_failures.get(name, ()) if one.fatal)
        problems = (*fatal, *refused.get("", ()), *refused.get(name, ()))
        return InterfaceStatus(
            present=True, up=interface.up, problems=problems, enabled=interface.enabled
        )

    def _refusals(self, desired: DesiredDataplane) -> dict[str, list[str]]:
        """Return what the kernel refused by interface name, "" for what concerns all."""
        refused: dict[str, list[str]] = {}
        for stage, reason in self._stage_failures.items():
            refused.setdefault("", []).append(f"{stage}: {reason}")
        affected: dict[str, str] = {}
        if self._nft.failures:
            affected = interfaces_affected(desired.ruleset, self._nft.failures)
            for name, reason in affected.items():
                refused.setdefault(name, []).append(reason)
        everything = ("",) if _NFTABLES in self._stage_failures else ()
        self._unprotected = frozenset((*affected, *everything))
        for destination, reason in self._routes.failures.items():
            interface = self._routes.interface_of(destination)
            if interface is not None:
                refused.setdefault(interface, []).append(f"route {destination}: {reason}")
        for key, reason in self._neighbours.failures.items():
            refused.setdefault(key.interface, []).append(f"neighbour {key.address}: {reason}")
        return refused

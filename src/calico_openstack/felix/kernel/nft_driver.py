"""Keeps our nftables tables as they should be, one transaction at a time.

The driver holds an image of each table: what the kernel has, read once and then kept up by what
was written. A change is compared against the image by the names in its delta, so that it costs in
proportion to itself. One socket serves for ever: closing an nfnetlink socket after a deletion waits
for the kernel's clean-up.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping

from msgspec import Struct

from calico_openstack.felix.kernel import nft_interfaces
from calico_openstack.felix.kernel.nft_constants import NftMessage
from calico_openstack.felix.kernel.nft_dump import (
    TableImage,
    read_flowtables,
    read_generation,
    read_table,
)
from calico_openstack.felix.kernel.nft_messages import encode_flowtable
from calico_openstack.felix.kernel.nft_monitor import NftMonitor
from calico_openstack.felix.kernel.nft_plan import Exclusions, plan_table
from calico_openstack.felix.kernel.nft_transaction import (
    ObjectKind,
    ObjectName,
    Phase,
    Request,
    TablePlan,
    assemble,
    blame,
)
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import Element, Ruleset, Table, interface_key
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NLM_F_CREATE,
    NetlinkError,
    NetlinkSocket,
    Refusal,
)

# A transaction is one buffer; a hundred thousand elements take about two megabytes.
_SEND_BUFFER = 256 << 20
# Above this size of a transaction, in bytes, its notifications would cost more than pausing them.
_LARGE_TRANSACTION = 1 << 14
# Refusals that a wrong image of the kernel explains.
_STALE_CODES = frozenset({errno.ENOENT, errno.EEXIST, errno.EBUSY})
# Rounds in which the first refused object alone is left out, and rounds altogether.
_CAREFUL_ROUNDS = 32
_ROUNDS = 64


class NftStatistics(Struct):
    """What was done so far: transactions, refused ones, listings of a table, failed ones.

    *set_calls*: transactions with sets or elements in them; *set_errors*: those refused for one.
    """

    calls: int = 0
    errors: int = 0
    list_calls: int = 0
    list_errors: int = 0
    set_calls: int = 0
    set_errors: int = 0


class TableSize(Struct, frozen=True):
    """How much there is in a table, as last known; *rules* in all chains together."""

    chains: int
    rules: int
    maps: int
    sets: int


class NftDriver:
    """Owns *tables* entirely: what is in them and not wanted is removed.

    Works in the network namespace in which it is made. ``writes`` counts requests that the kernel
    carried out, ``creations`` tables that were made, in place of others or not; ``failures`` says
    which objects it refused, and why. A refused chain is programmed closed, a refused element or
    set is left out, and everything else proceeds. Of interfaces that come or go after it was made,
    the driver must be told.
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        self.tables = tuple(tables)
        self._indexes = {name: index for index, name in socket.if_nameindex()}
        # The keys of interfaces whose index is another since the last `apply`, and what it was.
        self._reindexed: dict[bytes, int | None] = {}
        self.writes = 0
        self.creations = 0
        self.failures: dict[ObjectName, str] = {}
        self.statistics = NftStatistics()
        self._socket = NetlinkSocket(NETLINK_NETFILTER, send_buffer=_SEND_BUFFER)
        self._monitor = NftMonitor(self.tables, self._socket.port)
        self._images: dict[Table, TableImage | None] = {}
        self._stale = set(self.tables)
        # What may differ from the image, None for everything.
        self._pending: dict[Table, TableDelta | None] = {}
        self._exclusions = Exclusions()
        # How many transactions the kernel had carried out when all images were read, and how many
        # of ours it has since. When there were no others, the images are right.
        self._read_at: int | None = None
        self._committed = 0
        # Somebody else's transaction came between; set until the images are read again.
        self._disturbed = False

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when somebody else changed nftables."""
        return self._monitor.fileno()

    def close(self) -> None:
        """Close the sockets; the tables stay."""
        self._monitor.close()
        self._socket.close()

    def size(self, table: Table) -> TableSize:
        """Return how much there is in *table*; may be asked by any thread."""
        image = self._images.get(table)
        if image is None:
            return TableSize(0, 0, 0, 0)
        # Copied in one go: the driver's thread may be changing them.
        chains, sets = list(image.chains.values()), list(image.sets.values())
        # With a value to each element it is a map.
        maps = sum(
            each.set is not None and bool(each.set.verdicts or each.set.data) for each in sets
        )
        rules = sum(len(chain.hashes) for chain in chains)
        return TableSize(len(chains), rules, maps, len(sets) - maps)

    @property
    def needs_apply(self) -> bool:
        """Whether a table must be read again, or a change is kept that could not be made."""
        return bool(self._stale or self._pending)

    def read_notifications(self) -> bool:
        """Take in who changed what; return whether it concerned our tables."""
        touched = self._monitor.read()
        self.mark_stale(touched)
        return bool(touched)

    def mark_stale(self, tables: Iterable[Table] | None = None) -> None:
        """Distrust the image of *tables* (None: of all); the next `apply` reads them again."""
        self._stale.update(self.tables if tables is None else set(tables) & set(self.tables))

    def interfaces_changed(self, changed: Mapping[str, int | None]) -> None:
        """Take in the indexes of interfaces, None for those that are gone."""
        for name, index in changed.items():
            before = self._indexes.pop(name, None)
            if index is not None:
                self._indexes[name] = index
            if index != before:
                self._reindexed.setdefault(interface_key(name), before)

    def audit(self) -> None:
        """Distrust all images if the kernel has carried out other transactions than ours."""
        try:
            others = read_generation(self._socket) - self._committed != self._read_at
        except OSError:
            others = True
        if others:
            self.mark_stale()

    def resync(self) -> None:
        """Read back all tables now; the next `apply` repairs what differs from its wanted state."""
        self.mark_stale()
        self._read_stale()

    @property
    def images(self) -> Mapping[Table, TableImage | None]:
        """What each table is known to hold in the kernel; to be looked at only."""
        return self._images

    def elements(self, table: Table, name: str) -> frozenset[Element]:
        """Return the elements of a set as they were last known in the kernel; it may not exist."""
        image = self._images.get(table)
        present = image.sets.get(name) if image else None
        return frozenset(present.elements or ()) if present else frozenset()

    def has_element(self, table: Table, name: str, element: Element) -> bool:
        """Tell whether a set had an element as it was last known in the kernel."""
        image = self._images.get(table)
        present = image.sets.get(name) if image else None
        return present is not None and element in (present.elements or ())

    def cover(self, table: Table, name: str, devices: set[str]) -> set[str]:
        """Have a flowtable, if it is there, cover exactly the interfaces *devices*.

        Returns those that could not be had. Raises OSError when the kernel does not answer.
        """
        image = self._images.get(table)
        if image is None or name not in image.flowtables:
            return set(devices)
        covered = read_flowtables(self._socket, table).get(name, set())
        self._change_devices(table, name, NftMessage.DELFLOWTABLE, covered - devices)
        return self._change_devices(table, name, NftMessage.NEWFLOWTABLE, devices - covered)

    def _change_devices(
        self, table: Table, name: str, kind: NftMessage, devices: set[str]
    ) -> set[str]:
        """Add interfaces to a flowtable or take them off; return those that were refused.

        One that has vanished in this moment must not keep the others out.
        """
        if not devices:
            return set()
        flags = NLM_F_CREATE if kind is NftMessage.NEWFLOWTABLE else 0
        body = encode_flowtable(table, name, sorted(devices))
        plan = TablePlan(table)
        subject = ObjectName(table, ObjectKind.FLOWTABLE, name)
        plan.add(Phase.SETS, Request(subject, kind, body, flags))
        transaction, requests = assemble([plan])
        if not self._commit(transaction):
            self.writes += len(requests)
            return set()
        if len(devices) == 1:
            return devices
        return set().union(
            *(self._change_devices(table, name, kind, {device}) for device in devices)
        )

    def retry(self) -> None:
        """Let the next `apply` try the refused objects again."""
        for table in {subject.table for subject in self.failures}:
            self._forgive(table)

    def apply(self, desired: Ruleset, changed: Mapping[Table, TableDelta]) -> None:
        """Make the kernel what is *desired*, given that only *changed* differs from last time.

        Everything becomes effective in one transaction. Refused objects land in ``failures``.
        Raises OSError when nothing could be changed at all; the change is then kept for the next
        call.
        """
        self._note(changed)
        if self._reindexed:
            self._follow_interfaces(desired)
        suspicious = True
        for attempt in range(_ROUNDS):
            self._read_stale()
            plans = [self._plan(table, desired) for table in self._pending]
            refused = {name: reason for plan in plans for name, reason in plan.refused.items()}
            if not refused:
                transaction, requests = assemble(plans)
                self.statistics.set_calls += any(plan.sets or plan.elements for plan in plans)
                refusals = self._commit(transaction)
                if not refusals:
                    self._record(plans, len(requests))
                    return
                if suspicious and any(refusal.code in _STALE_CODES for refusal in refusals):
                    suspicious = False
                    self.mark_stale()
                    continue
                careful = attempt < _CAREFUL_ROUNDS
                refused = _blame(requests, refusals[:1] if careful else refusals)
            self.statistics.set_errors += any(
                subject.kind in (ObjectKind.SET, ObjectKind.ELEMENT) for subject in refused
            )
            for subject, reason in refused.items():
                self._exclude(subject, reason)
        raise OSError(errno.EIO, f"nftables: transaction failed {_ROUNDS} times")

    # --- steps ----------------------------------------------------------------------------------

    def _note(self, changed: Mapping[Table, TableDelta]) -> None:
        for table, delta in changed.items():
            if table not in self.tables:
                raise ValueError(f"table {table} is not one of the driver's")
            if self.failures:
                self._forgive(table)
            pending = self._pending.setdefault(table, TableDelta())
            if pending is not None:
                pending.merge(delta)

    def _follow_interfaces(self, desired: Ruleset) -> None:
        """Look again at the elements of interfaces whose index is another."""
        for table in self.tables:
            state, image = desired.get(table), self._images.get(table)
            touched = nft_interfaces.reindex(state, image, self._reindexed) if state else {}
            if touched:
                self._note({table: TableDelta(elements=touched)})
        self._reindexed.clear()

    def _forgive(self, table: Table) -> None:
        """Try the refused objects of *table* again: what they lacked may be there now."""
        forgiven = [subject for subject in self.failures if subject.table == table]
        for subject in forgiven:
            del self.failures[subject]
            self._exclusions.closed.discard(subject)
            self._exclusions.untouched.discard(subject)
        if forgiven:
            self._pending[table] = None

    def _read_stale(self) -> None:
        if self._stale.issuperset(self.tables):
            # Asked before reading: what comes meanwhile is found by the next audit.
            self._read_at, self._committed = read_generation(self._socket), 0
        for table in sorted(self._stale, key=self.tables.index):
            self.statistics.list_calls += 1
            try:
                image = self._images[table] = read_table(self._socket, table)
            except OSError:
                self.statistics.list_errors += 1
                raise
            if image is not None:
                nft_interfaces.name_interfaces(image, self._indexes)
            self._pending[table] = None
            self._stale.discard(table)

    def _plan(self, table: Table, desired: Ruleset) -> TablePlan:
        return plan_table(
            table,
            desired.get(table),
            self._images[table],
            self._pending[table],
            self._exclusions,
            indexes=self._indexes,
        )

    def _commit(self, transaction: bytes) -> list[Refusal]:
        """Send a transaction; return what was refused of it, in order, nothing on success.

        Raises OSError when it failed for a reason that no single object has.
        """
        if not transaction:
            return []
        self.statistics.calls += 1
        try:
            if len(transaction) < _LARGE_TRANSACTION:
                refusals = self._socket.exchange([transaction])
            else:
                refusals = self._exchange_unheard(transaction)
        except OSError:
            # Perhaps an answer was lost: then nothing was changed, but better look.
            self.statistics.errors += 1
            self.mark_stale()
            raise
        if refusals:
            self.statistics.errors += 1
        else:
            self._committed += 1
        refusals.sort(key=lambda refusal: refusal.sequence)
        if refusals and refusals[0].sequence == 0:
            raise NetlinkError(refusals[0])
        return refusals

    def _exchange_unheard(self, transaction: bytes) -> list[Refusal]:
        """Send a transaction with notifications paused, without missing anybody else's change.

        The kernel counts transactions: when more than ours was counted, all images are distrusted.
        """
        before = read_generation(self._socket)
        self._monitor.pause()
        try:
            refusals = self._socket.exchange([transaction])
        finally:
            self._monitor.resume()
        ours = 0 if refusals else 1
        if read_generation(self._socket) != before + ours:
            self._disturbed = True
        return refusals

    def _record(self, plans: list[TablePlan], requests: int) -> None:
        for plan in plans:
            self.creations += plan.created
            self._images[plan.table] = plan.record(self._images[plan.table])
        self._pending.clear()
        self.writes += requests
        if self._disturbed:
            self._disturbed = False
            self.mark_stale()

    def _exclude(self, subject: ObjectName, reason: str) -> None:
        if subject in self._exclusions.closed:
            # Even closed or without it, it was refused.
            self._exclusions.untouched.add(subject)
        self._exclusions.closed.add(subject)
        self.failures.setdefault(subject, reason)


def _blame(requests: list[Request], refusals: list[Refusal]) -> dict[ObjectName, str]:
    blamed: dict[ObjectName, str] = {}
    for refusal in refusals:
        refused = requests[refusal.sequence - 1]
        subject = blame(refused, refusal)
        if subject.kind is ObjectKind.SET and refused.elements and len(refused.elements) == 1:
            subject = ObjectName(
                subject.table, ObjectKind.ELEMENT, subject.name, refused.elements[0]
            )
        blamed.setdefault(subject, str(refusal))
    return blamed

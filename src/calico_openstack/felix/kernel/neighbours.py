"""Keeps permanent neighbour entries: the workloads' MACs, so that no ARP or ND can forge them.

Unwanted permanent entries on workload interfaces are removed; entries that the kernel learnt, and
everything on other interfaces, are left alone. Of workloads that have just arrived the kernel is
told what it would have to ask them first; such an entry is the kernel's from then on.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.felix.kernel.interfaces import InterfaceMonitor
from calico_openstack.felix.render.dataplane import NeighbourKey
from calico_openstack.netlink.batch import BatchWriter
from calico_openstack.netlink.protocol import Message
from calico_openstack.netlink.rtnetlink import (
    AF_INET,
    AF_INET6,
    NeighbourEntry,
    RtMessage,
    encode_neighbour,
    encode_neighbour_hint,
    encode_neighbour_removal,
    neighbour_dump_request,
    parse_neighbour,
)


class NeighbourDriver:
    """Writes neighbour entries as they should be, while their interface exists and is up.

    ``writes`` counts requests that the kernel carried out, ``failures`` entries that it refused.
    """

    def __init__(
        self,
        writer: BatchWriter,
        monitor: InterfaceMonitor,
        is_workload: Callable[[str], bool],
    ) -> None:
        self.writes = 0
        self.failures: dict[NeighbourKey, str] = {}
        self._writer = writer
        self._monitor = monitor
        self._is_workload = is_workload
        self._tracker: DeltaTracker[NeighbourEntry, bytes] = DeltaTracker()
        self._wanted: dict[NeighbourKey, bytes] = {}
        self._entries: dict[NeighbourKey, NeighbourEntry] = {}
        self._by_interface: dict[str, set[NeighbourKey]] = {}
        self._stale = True
        self._hints: dict[NeighbourKey, bytes] = {}

    def suggest(self, key: NeighbourKey, mac: bytes) -> None:
        """Tell the kernel with the next `add` who has an address, if it does not know better."""
        self._hints[key] = mac

    def set_wanted(self, key: NeighbourKey, mac: bytes | None) -> None:
        """Want the entry *key* to have *mac* (six bytes), None for no entry."""
        if mac is None:
            self._wanted.pop(key, None)
            keys = self._by_interface.get(key.interface, set())
            keys.discard(key)
            if not keys:
                self._by_interface.pop(key.interface, None)
        else:
            self._wanted[key] = mac
            self._by_interface.setdefault(key.interface, set()).add(key)
        self._resolve(key)

    def interfaces_changed(self, names: Iterable[str], interrupted: Iterable[int]) -> None:
        """Take in that interfaces came, went, or were down, see `InterfaceChanges`."""
        # As for routes: entries of an interface that is down are removed, others made anew.
        lost = {index for index in interrupted if not self._monitor.is_down(index)}
        if lost:
            for entry in [entry for entry in self._tracker.actual if entry.interface in lost]:
                self._tracker.delete_actual(entry)
        for name in names:
            for key in self._by_interface.get(name, ()):
                self._resolve(key)

    def _resolve(self, key: NeighbourKey) -> None:
        entry = None
        mac = self._wanted.get(key)
        interface = self._monitor.interfaces.get(key.interface)
        if mac is not None and interface is not None and interface.up:
            entry = NeighbourEntry(interface.index, key.address)
        before = self._entries.pop(key, None)
        if before is not None and before != entry:
            self._tracker.delete_desired(before)
        if entry is None or mac is None:
            # Refused perhaps because the interface was on its way down.
            self.failures.pop(key, None)
        else:
            self._entries[key] = entry
            self._tracker.set_desired(entry, mac)

    @property
    def needs_apply(self) -> bool:
        """Whether something is to be written or read."""
        return self._stale or not self._tracker.in_sync

    def mark_stale(self) -> None:
        """Distrust what is known of the kernel's entries; the next `remove` reads them again."""
        self._stale = True

    def resync(self) -> None:
        """Read back all entries."""
        found: dict[NeighbourEntry, bytes] = {}
        for family in (AF_INET, AF_INET6):
            for received in self._writer.socket.dump(
                RtMessage.GETNEIGH, neighbour_dump_request(family)
            ):
                parsed = parse_neighbour(received.body)
                if parsed and parsed[1] is not None and self._concerns_us(parsed[0]):
                    found[parsed[0]] = parsed[1]
        self._tracker.replace_actual(found)
        self._stale = False

    def notified(self, received: Message) -> None:
        """Take in that an entry changed, by somebody else or in the kernel."""
        parsed = parse_neighbour(received.body)
        if parsed is None or not self._concerns_us(parsed[0]):
            return
        entry, mac = parsed
        if received.kind == RtMessage.DELNEIGH or mac is None:
            self._tracker.delete_actual(entry)
        else:
            self._tracker.set_actual(entry, mac)

    def _concerns_us(self, entry: NeighbourEntry) -> bool:
        if entry in self._tracker.desired:
            return True
        name = self._monitor.name_of(entry.interface)
        return name is not None and self._is_workload(name)

    def remove(self) -> None:
        """Remove unwanted entries; raises OSError when the kernel cannot be read."""
        if self._stale:
            self.resync()
        doomed = list(self._tracker.pending_deletions)
        if not doomed:
            return
        requests = [encode_neighbour_removal(entry, i) for i, entry in enumerate(doomed)]
        # Gone already, or its interface is.
        tolerated = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
        done, refused = self._writer.send(requests, tolerated)
        self.writes += done
        for i, entry in enumerate(doomed):
            if i not in refused:
                self._tracker.delete_actual(entry)

    def add(self) -> None:
        """Make missing or different entries."""
        self._pass_on_hints()
        updates = list(self._tracker.pending_updates.items())
        if not updates:
            return
        done, refused = self._writer.send(
            [encode_neighbour(entry, mac, i) for i, (entry, mac) in enumerate(updates)]
        )
        self.writes += done
        for i, (entry, mac) in enumerate(updates):
            name = self._monitor.name_of(entry.interface)
            key = NeighbourKey(name or "", entry.address)
            if i in refused:
                self.failures[key] = refused[i]
            else:
                self.failures.pop(key, None)
                self._tracker.set_actual(entry, mac)

    def _pass_on_hints(self) -> None:
        """Tell them once; what cannot be told the kernel finds out by itself."""
        hints, self._hints = self._hints, {}
        requests: list[bytes] = []
        for key, mac in hints.items():
            interface = self._monitor.interfaces.get(key.interface)
            if interface is not None and interface.up:
                entry = NeighbourEntry(interface.index, key.address)
                requests.append(encode_neighbour_hint(entry, mac, len(requests)))
        if requests:
            done, _ = self._writer.send(requests)
            self.writes += done

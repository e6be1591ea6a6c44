"""Keeps the workloads' routes in the main table.

Which routes are ours to remove (specification section 3.13): those of protocol 80 wherever they
are; on workload interfaces every one, or, when foreign ones are tolerated, those of the protocols
that we use. An unknown route on an interface that appeared a moment ago is left for a grace period:
whoever made it may be ahead of the datastore. Nothing else is touched.

BIRD's routes over the interface of a workload that speaks BGP with the host are left to BIRD.

Where several interfaces claim an address, that with the best metric has it, of several the newest,
which has the highest index. One that is down has nothing.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.felix.kernel.interfaces import Interface, InterfaceMonitor
from calico_openstack.felix.render.dataplane import Network, Route
from calico_openstack.netlink.batch import BatchWriter
from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    NLM_F_REPLACE,
    Message,
    NetlinkSocket,
)
from calico_openstack.netlink.rtnetlink import (
    AF_INET,
    AF_INET6,
    RouteAttributes,
    RouteKey,
    RtMessage,
    encode_route,
    encode_route_removal,
    parse_route,
    route_dump_request,
)

# The routing protocol number that Calico's own, non-device routes carry.
FELIX_PROTOCOL = 80
# RTPROT_BIRD.
BIRD_PROTOCOL = 12
GRACE_SECONDS = 10.0


class RouteOwnership(Struct, frozen=True):
    """Which routes are ours; *is_workload* tells a workload interface by its name.

    Unless *manages*, no route is.
    """

    is_workload: Callable[[str], bool]
    remove_external: bool = True
    device_protocol: int = 3
    manages: bool = True

    def keeps(self, interface: str) -> bool:
        """Return whether the routes and neighbours of an interface are ours to keep right."""
        return self.manages and self.is_workload(interface)

    def owns(self, key: RouteKey, route: RouteAttributes, interface: str | None) -> bool:
        """Return whether an unwanted route is ours to remove."""
        if key.destination.is_link_local or key.destination.is_multicast:
            # The kernel's own, on every interface with IPv6.
            return False
        if route.protocol == FELIX_PROTOCOL:
            return self.manages
        if interface is None or not self.keeps(interface):
            return False
        return self.remove_external or route.protocol == self.device_protocol


class RouteDriver:
    """Writes routes as they should be; see the module's docstring for what it removes.

    A route is programmed while its interface exists and is up. ``writes`` counts requests that the
    kernel carried out, ``failures`` destinations that it refused. ``moved`` are destinations that
    have another interface than before, as of now or of when there was one last; the owner clears
    it.
    """

    def __init__(
        self, writer: BatchWriter, monitor: InterfaceMonitor, ownership: RouteOwnership
    ) -> None:
        self.writes = 0
        self.failures: dict[Network, str] = {}
        self.moved: set[Network] = set()
        # Told how long, in seconds, it took to read all routes back.
        self.observe_resync: Callable[[float], object] = lambda _seconds: None
        self._writer = writer
        self._monitor = monitor
        self._ownership = ownership
        self._tracker: DeltaTracker[RouteKey, RouteAttributes] = DeltaTracker()
        # What is wanted, whether or not the interface is there; and the key it has in the kernel.
        self._wanted: dict[Network, Route] = {}
        self._keys: dict[Network, RouteKey] = {}
        self._served_by: dict[Network, str] = {}
        self._by_interface: dict[str, set[Network]] = {}
        self._graced: set[RouteKey] = set()
        self._peers: set[str] = set()
        self._stale = True

    # --- wishes ---------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """How many routes are ours in the kernel, and over how many interfaces some are wanted."""
        return len(self._tracker.actual), len(self._by_interface)

    def wanted(self, destination: Network) -> Route | None:
        """Return the route that is wanted to *destination*."""
        return self._wanted.get(destination)

    def interface_of(self, destination: Network) -> str | None:
        """Return the interface that *destination* has, or had while one was up."""
        return self._served_by.get(destination)

    def set_wanted(self, destination: Network, route: Route | None) -> None:
        """Want *route* to *destination*, None for no route."""
        before = self._wanted.pop(destination, None)
        for name, _ in before.candidates if before is not None else ():
            self._by_interface[name].discard(destination)
            if not self._by_interface[name]:
                del self._by_interface[name]
        if route is not None:
            self._wanted[destination] = route
            for name, _ in route.candidates:
                self._by_interface.setdefault(name, set()).add(destination)
        else:
            self._served_by.pop(destination, None)
        self._resolve(destination)

    def set_peer(self, name: str, speaks: bool) -> None:
        """Take in whether the workload at the interface *name* speaks BGP with the host."""
        if speaks != (name in self._peers):
            self._peers ^= {name}
            self._stale = True

    def interfaces_changed(self, names: Iterable[str], interrupted: Iterable[int]) -> None:
        """Take in that interfaces came, went, or were down, see `InterfaceChanges`."""
        # Where an interface is down its routes may still be there, and are removed; where it is up
        # again or gone the kernel has dropped them, and they are made anew.
        lost = {index for index in interrupted if not self._monitor.is_down(index)}
        if lost:
            for key in [key for key in self._tracker.actual if key.interface in lost]:
                self._tracker.delete_actual(key)
        for name in names:
            for destination in self._by_interface.get(name, ()):
                self._resolve(destination)

    def _resolve(self, destination: Network) -> None:
        """Want of the kernel what is wanted and possible now."""
        key = None
        route = self._wanted.get(destination)
        if route is not None and (found := self._choice(route)) is not None:
            metric, interface = found
            key = RouteKey(destination, metric, interface.index)
            if self._served_by.setdefault(destination, interface.name) != interface.name:
                self._served_by[destination] = interface.name
                self.moved.add(destination)
        before = self._keys.pop(destination, None)
        if before is not None and before != key:
            self._tracker.delete_desired(before)
        if key is None or route is None:
            # Refused perhaps because the interface was on its way down.
            self.failures.pop(destination, None)
        else:
            self._keys[destination] = key
            self._tracker.set_desired(key, RouteAttributes(route.protocol, route.source))

    def _choice(self, route: Route) -> tuple[int, Interface] | None:
        """Return which interface has an address, and the metric; None if none is up."""
        up = [
            (metric, interface)
            for name, metric in route.candidates
            if (interface := self._monitor.interfaces.get(name)) is not None and interface.up
        ]
        return min(up, key=lambda each: (each[0], -each[1].index), default=None)

    # --- reading --------------------------------------------------------------------------------

    @property
    def needs_apply(self) -> bool:
        """Whether something is to be written or read."""
        tracker = self._tracker
        return (
            self._stale
            or bool(tracker.pending_updates)
            or any(key not in self._graced for key in tracker.pending_deletions)
        )

    def mark_stale(self) -> None:
        """Distrust what is known of the kernel's routes; the next `remove` reads them again."""
        self._stale = True

    def resync(self, now: float) -> None:
        """Read back all routes."""
        began = time.monotonic()
        found = {
            key: route
            for key, route in self._read(self._writer.socket)
            if self._concerns_us(key, route)
        }
        known = self._tracker.actual.keys() - self._graced
        self._tracker.replace_actual(found)
        self._graced = {key for key in found if key not in known and self._in_grace(key, now)}
        self._stale = False
        self.observe_resync(time.monotonic() - began)

    def interfaces_with_metric(self, metrics: Mapping[int, int]) -> set[str]:
        """Return the workload interfaces that have a route of these *metrics*, by IP version.

        Routes of our protocol only: a host may have a hundred thousand routes from BGP.
        """
        socket = NetlinkSocket(NETLINK_ROUTE)
        try:
            socket.filter_dumps()
            found = list(self._read(socket, self._ownership.device_protocol))
        finally:
            socket.close()
        names = {
            self._monitor.name_of(key.interface)
            for key, _ in found
            if key.metric == metrics.get(key.destination.version)
        }
        return {name for name in names if name and self._ownership.is_workload(name)}

    def _read(
        self, socket: NetlinkSocket, protocol: int = 0
    ) -> Iterator[tuple[RouteKey, RouteAttributes]]:
        for family in (AF_INET, AF_INET6):
            request = route_dump_request(family, protocol)
            for received in socket.dump(RtMessage.GETROUTE, request):
                parsed = parse_route(received.body)
                if parsed:
                    yield parsed

    def notified(self, received: Message, now: float) -> None:
        """Take in that somebody else made or removed a route."""
        parsed = parse_route(received.body)
        if parsed is None:
            return
        key, route = parsed
        if received.kind == RtMessage.DELROUTE:
            self._tracker.delete_actual(key)
            return
        if received.flags & NLM_F_REPLACE:
            ours = self._keys.get(key.destination)
            if ours is not None and ours != key and ours.metric == key.metric:
                self._tracker.delete_actual(ours)
        if self._concerns_us(key, route):
            self._tracker.set_actual(key, route)
            if self._in_grace(key, now):
                self._graced.add(key)

    def _concerns_us(self, key: RouteKey, route: RouteAttributes) -> bool:
        if key in self._tracker.desired:
            return True
        name = self._monitor.name_of(key.interface)
        if route.protocol == BIRD_PROTOCOL and name in self._peers:
            return False
        return self._ownership.owns(key, route, name)

    def _in_grace(self, key: RouteKey, now: float) -> bool:
        if key in self._tracker.desired:
            return False
        name = self._monitor.name_of(key.interface)
        interface: Interface | None = self._monitor.interfaces.get(name) if name else None
        return interface is not None and now < interface.since + GRACE_SECONDS

    def next_deadline(self) -> float | None:
        """Return when the grace of the next unknown route ends, on the monitor's clock."""
        ends = [
            interface.since + GRACE_SECONDS
            for key in self._graced
            if (name := self._monitor.name_of(key.interface))
            and (interface := self._monitor.interfaces.get(name))
        ]
        return min(ends, default=None)

    # --- writing --------------------------------------------------------------------------------

    def remove(self, now: float) -> None:
        """Remove what is unwanted, unless an addition is going to replace it; OSError: cannot."""
        if self._stale:
            self.resync(now)
        self._graced = {key for key in self._graced if self._in_grace(key, now)}
        # A destination that moves keeps its old route until it has the new one.
        moving = {key.destination for key in self._tracker.pending_updates}
        self._remove(
            key
            for key in self._tracker.pending_deletions
            if key not in self._graced and key.destination not in moving
        )

    def add(self) -> None:
        """Make what is missing or different, then remove what that replaced."""
        updates = list(self._tracker.pending_updates.items())
        if updates:
            moved = {key.destination for key, _ in updates}
            requests = [encode_route(key, value, i) for i, (key, value) in enumerate(updates)]
            done, refused = self._writer.send(requests)
            self.writes += done
            for i, (key, value) in enumerate(updates):
                if i in refused:
                    self.failures[key.destination] = refused[i]
                else:
                    self.failures.pop(key.destination, None)
                    self._tracker.set_actual(key, value)
            self._remove(
                key
                for key in self._tracker.pending_deletions
                if key.destination in moved and key not in self._graced
            )

    def _remove(self, keys: Iterable[RouteKey]) -> None:
        doomed = list(keys)
        if not doomed:
            return
        actual: Mapping[RouteKey, RouteAttributes] = self._tracker.actual
        requests = [
            encode_route_removal(key, actual[key].protocol, i) for i, key in enumerate(doomed)
        ]
        done, refused = self._writer.send(requests, tolerated=(errno.ESRCH, errno.ENODEV))
        self.writes += done
        for i, key in enumerate(doomed):
            if i in refused:
                self.failures[key.destination] = refused[i]
            else:
                self._tracker.delete_actual(key)

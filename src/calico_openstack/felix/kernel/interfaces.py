"""The host's interfaces and their changes, from the kernel's own notifications.

One socket hears links, addresses, routes, neighbour entries, queueing disciplines and parameters,
in the order in which the kernel changed them; what does not concern interfaces is handed on
undigested.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from calico_openstack.felix.kernel.traffic_control import TcMessage
from calico_openstack.felix.render.dataplane import Address
from calico_openstack.netlink.protocol import (
    NETLINK_ROUTE,
    Message,
    NetlinkSocket,
)
from calico_openstack.netlink.rtnetlink import (
    IFF_LOWER_UP,
    IFF_UP,
    AssignedAddress,
    Link,
    RtGroup,
    RtMessage,
    address_dump_request,
    link_dump_request,
    parse_address,
    parse_link,
)

_ROUTES = (RtMessage.NEWROUTE, RtMessage.DELROUTE)
_NEIGHBOURS = (RtMessage.NEWNEIGH, RtMessage.DELNEIGH)
_DISCIPLINES = frozenset(TcMessage)


class Interface(Struct, frozen=True):
    """An interface that exists. It is *up* when set up and its link has its carrier.

    ``enabled`` says that it is set up: the TAP device of a virtual machine that is yet to come
    has no carrier. ``since`` is the time at which it was first seen, on the caller's monotonic
    clock.
    """

    name: str
    index: int
    up: bool
    mac: bytes
    mtu: int
    since: float
    addresses: frozenset[Address] = frozenset()
    enabled: bool = True


class InterfaceChanges(Struct):
    """What happened since the last look.

    ``names`` are interfaces that differ in any way, appeared or vanished; ``addressed`` those whose
    addresses differ; ``interrupted`` those indexes that were down or gone at any moment, even if
    they are up again: the kernel may have dropped their routes and neighbours without a word. When
    one was ``renamed`` what is on it may have become ours, or may no longer be. After an
    ``overrun`` of the socket anything may have changed.
    """

    names: set[str] = field(default_factory=set)
    addressed: set[str] = field(default_factory=set)
    interrupted: set[int] = field(default_factory=set)
    routes: list[Message] = field(default_factory=list)
    neighbours: list[Message] = field(default_factory=list)
    disciplines: list[Message] = field(default_factory=list)
    parameters: list[Message] = field(default_factory=list)
    renamed: bool = False
    overrun: bool = False


class InterfaceMonitor:
    """Keeps the table of interfaces of the namespace in which it is made.

    *own_port* is the socket through which routes and neighbours are written; its notifications are
    not heard.
    """

    def __init__(self, own_port: int, now: float) -> None:
        self._requests = NetlinkSocket(NETLINK_ROUTE)
        self._notifications = NetlinkSocket(NETLINK_ROUTE, receive_buffer=32 << 20)
        self._notifications.ignore(own_port)
        for group in RtGroup:
            self._notifications.join(group)
        self._by_index: dict[int, Interface] = {}
        self._by_name: dict[str, Interface] = {}
        self._assigned: dict[int, frozenset[AssignedAddress]] = {}
        self.resync(now)

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """The interfaces by name, as of the last `read`."""
        return self._by_name

    def index_of(self, name: str) -> int | None:
        """Return the index of the interface *name*, as of the last `read`."""
        interface = self._by_name.get(name)
        return interface.index if interface else None

    def name_of(self, index: int) -> str | None:
        """Return the name of the interface with *index*."""
        interface = self._by_index.get(index)
        return interface.name if interface else None

    def is_down(self, index: int) -> bool:
        """Return whether the interface with *index* exists and is not up."""
        interface = self._by_index.get(index)
        return interface is not None and not interface.up

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something changed."""
        return self._notifications.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._requests.close()
        self._notifications.close()

    def resync(self, now: float) -> InterfaceChanges:
        """Read all links and addresses anew and return what differs from what was known."""
        changes = InterfaceChanges()
        addresses: dict[int, set[AssignedAddress]] = {}
        for received in self._requests.dump(RtMessage.GETADDR, address_dump_request()):
            parsed = parse_address(received.body)
            if parsed:
                addresses.setdefault(parsed[0], set()).add(parsed[1])
        gone = set(self._by_index)
        for received in self._requests.dump(RtMessage.GETLINK, link_dump_request()):
            link = parse_link(received.body)
            if link is not None:
                gone.discard(link.index)
                self._set_link(link, now, changes)
                self._set_addresses(link.index, frozenset(addresses.get(link.index, ())), changes)
        for index in gone:
            self._remove(index, changes)
        return changes

    def read(self, now: float) -> InterfaceChanges:
        """Take in all waiting notifications and return what they changed."""
        changes = InterfaceChanges()
        for received in self._notifications.notifications():
            if received is None:
                changes.overrun = True
            else:
                self._take(received, now, changes)
        if changes.overrun:
            missed = self.resync(now)
            changes.names |= missed.names
            changes.interrupted |= missed.interrupted
        return changes

    # --- notifications --------------------------------------------------------------------------

    def _take(self, received: Message, now: float, changes: InterfaceChanges) -> None:
        kind = received.kind
        if kind in _ROUTES:
            changes.routes.append(received)
        elif kind in _NEIGHBOURS:
            changes.neighbours.append(received)
        elif kind in _DISCIPLINES:
            changes.disciplines.append(received)
        elif kind == RtMessage.NEWNETCONF:
            changes.parameters.append(received)
        elif kind in (RtMessage.NEWLINK, RtMessage.DELLINK):
            link = parse_link(received.body)
            if link is None:
                return
            if kind == RtMessage.NEWLINK:
                self._set_link(link, now, changes)
            else:
                self._remove(link.index, changes)
        elif kind in (RtMessage.NEWADDR, RtMessage.DELADDR):
            parsed = parse_address(received.body)
            interface = self._by_index.get(parsed[0]) if parsed else None
            if parsed and interface:
                one = {parsed[1]}
                known = self._assigned.get(interface.index, frozenset())
                after = known | one if kind == RtMessage.NEWADDR else known - one
                self._set_addresses(interface.index, after, changes)

    def _set_link(self, link: Link, now: float, changes: InterfaceChanges) -> None:
        if not link.name:
            return
        # IFF_RUNNING says nearly the same, up to a second later.
        enabled = bool(link.flags & IFF_UP)
        up = enabled and bool(link.flags & IFF_LOWER_UP)
        before = self._by_index.get(link.index)
        interface = Interface(
            name=link.name,
            index=link.index,
            up=up,
            mac=link.mac,
            mtu=link.mtu,
            since=before.since if before else now,
            addresses=before.addresses if before else frozenset(),
            enabled=enabled,
        )
        if not up:
            changes.interrupted.add(link.index)
        if interface == before:
            return
        if before and before.name != interface.name:
            changes.renamed = True
            changes.names.add(before.name)
            if self._by_name.get(before.name) is before:
                del self._by_name[before.name]
        self._store(interface, changes)

    def _set_addresses(
        self, index: int, assigned: frozenset[AssignedAddress], changes: InterfaceChanges
    ) -> None:
        self._assigned[index] = assigned
        addresses = frozenset(each.address for each in assigned)
        interface = self._by_index.get(index)
        if interface and interface.addresses != addresses:
            self._store(replace(interface, addresses=addresses), changes)
            changes.addressed.add(interface.name)

    def _store(self, interface: Interface, changes: InterfaceChanges) -> None:
        self._by_index[interface.index] = interface
        self._by_name[interface.name] = interface
        changes.names.add(interface.name)

    def _remove(self, index: int, changes: InterfaceChanges) -> None:
        interface = self._by_index.pop(index, None)
        if interface is None:
            return
        self._assigned.pop(index, None)
        changes.interrupted.add(index)
        changes.names.add(interface.name)
        if self._by_name.get(interface.name) is interface:
            del self._by_name[interface.name]

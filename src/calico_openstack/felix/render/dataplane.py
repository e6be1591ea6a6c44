"""What Felix wants in the kernel besides nftables: routes, neighbours and interfaces' settings.

Plain data. Everything names interfaces by name; the driver knows their indexes and whether they
exist and are up, and programs what can be programmed now.

`DesiredDataplane` is the whole wanted state; a `DataplaneDelta` names what changed in it since the
last one, so that a driver works in proportion to the change. A delta carries names only: what a
named thing should be now, or that it should be gone, is looked up in the desired state. Deltas may
therefore be merged, repeated or applied late without harm.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from msgspec import Struct, field

from calico_openstack.felix.render.nft import Element, Ruleset, Table
from calico_openstack.felix.render.qos import Shaping

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Route(Struct, frozen=True):
    """A route of one workload address over its interface; scope link, main table.

    *others* are interfaces that claim the address too, with their metrics. Which of all of them has
    it depends on which exist and are up.
    """

    interface: str
    metric: int
    protocol: int
    source: Address | None = None
    others: tuple[tuple[str, int], ...] = ()

    @property
    def candidates(self) -> tuple[tuple[str, int], ...]:
        """All interfaces that claim the address, with their metrics."""
        return (self.interface, self.metric), *self.others


class NeighbourKey(Struct, frozen=True):
    """Identity of a neighbour entry."""

    interface: str
    address: Address


class InterfaceSettings(Struct, frozen=True):
    """Which groups of per-interface sysctls an interface needs (specification section 3.12).

    With *spoofing* the kernel's own reverse-path filter must be off: the endpoint may use source
    addresses that are not routed to it.
    """

    ipv4: bool
    ipv6: bool
    spoofing: bool = False


class DesiredDataplane(Struct):
    """The whole wanted state of this host's kernel.

    ``routes`` maps a destination to its route (one a destination), ``neighbours`` an
    interface and address to a MAC of six bytes, ``interfaces`` a workload interface to its
    settings, ``shaping`` one to the limits of its bandwidth, ``globals`` a path below ``/proc/sys``
    to its value. ``peers`` are the interfaces of workloads that speak BGP with the host: BIRD's
    routes over them stay. ``translations`` maps an external address to the internal one that it
    leads to: flows that lead elsewhere must end. ``arrivals`` are the MACs of workloads that come
    by live migration, which the kernel is told once, to go on from by itself.
    """

    ruleset: Ruleset = field(default_factory=dict)
    routes: dict[Network, Route] = field(default_factory=dict)
    neighbours: dict[NeighbourKey, bytes] = field(default_factory=dict)
    interfaces: dict[str, InterfaceSettings] = field(default_factory=dict)
    shaping: dict[str, Shaping] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)
    peers: set[str] = field(default_factory=set)
    translations: dict[Address, Address] = field(default_factory=dict)
    arrivals: dict[NeighbourKey, bytes] = field(default_factory=dict)


class TableDelta(Struct):
    """What changed in one nftables table.

    A set in ``sets`` is new, gone or of another type, and all of its elements are meant with it.
    ``elements`` names elements of sets that stay: those that came, went or got another verdict.
    """

    chains: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    elements: dict[str, set[Element]] = field(default_factory=dict)
    flowtables: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.chains or self.sets or self.elements or self.flowtables)

    def merge(self, later: TableDelta) -> None:
        """Take in what changed after this."""
        self.chains |= later.chains
        self.sets |= later.sets
        self.flowtables |= later.flowtables
        for name, changed in later.elements.items():
            self.elements.setdefault(name, set()).update(changed)


class DataplaneDelta(Struct):
    """Names of everything in a `DesiredDataplane` that changed; see the module's docstring.

    The keys are those of the desired state's mappings.
    """

    tables: dict[Table, TableDelta] = field(default_factory=dict)
    routes: set[Network] = field(default_factory=set)
    neighbours: set[NeighbourKey] = field(default_factory=set)
    interfaces: set[str] = field(default_factory=set)
    shaping: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    peers: set[str] = field(default_factory=set)
    translations: set[Address] = field(default_factory=set)
    arrivals: set[NeighbourKey] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(
            any(self.tables.values())
            or self.routes
            or self.neighbours
            or self.interfaces
            or self.shaping
            or self.globals
            or self.peers
            or self.translations
            or self.arrivals
        )

    def merge(self, later: DataplaneDelta) -> None:
        """Take in what changed after this."""
        for table, changed in later.tables.items():
            self.tables.setdefault(table, TableDelta()).merge(changed)
        self.routes |= later.routes
        self.neighbours |= later.neighbours
        self.interfaces |= later.interfaces
        self.shaping |= later.shaping
        self.globals |= later.globals
        self.peers |= later.peers
        self.translations |= later.translations
        self.arrivals |= later.arrivals

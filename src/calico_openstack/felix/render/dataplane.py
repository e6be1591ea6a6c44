"""What Felix wants in the kernel besides nftables: routes, neighbours and interface settings.

Plain data. Everything names interfaces by name; the driver knows their indexes and whether they
exist and are up, and programs what can be programmed now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from calico_openstack.felix.render.nft import Ruleset

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one workload address over its interface; scope link, main table."""

    interface: str
    metric: int
    protocol: int
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class NeighbourKey:
    """Identity of a permanent neighbour entry."""

    interface: str
    address: Address


@dataclass(frozen=True, slots=True)
class InterfaceSettings:
    """Which groups of per-interface sysctls an interface needs (specification section 3.12)."""

    ipv4: bool
    ipv6: bool


@dataclass(slots=True)
class DesiredDataplane:
    """The whole wanted state of this host's kernel.

    ``routes`` maps a destination to its route (one winner a destination), ``neighbours`` an
    interface and address to a MAC of six bytes, ``interfaces`` a workload interface to its
    settings, ``globals`` a path below ``/proc/sys`` to its value.
    """

    ruleset: Ruleset = field(default_factory=dict)
    routes: dict[Network, Route] = field(default_factory=dict)
    neighbours: dict[NeighbourKey, bytes] = field(default_factory=dict)
    interfaces: dict[str, InterfaceSettings] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)

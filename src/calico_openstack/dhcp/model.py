"""The agent's terms: ports, subnets and links as DHCP sees them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

INFINITE_LEASE: Final = -1
"""A lease time, in place of seconds, that never ends."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something that could not be served as it was meant, and why.

    *subject* is the key in etcd or the name of the kernel object, *field* the member of it.
    """

    subject: str
    field: str
    reason: str

    def __str__(self) -> str:
        where = f" field {self.field}" if self.field else ""
        return f"{self.subject}{where}: {self.reason}"


class Mode(Enum):
    """How the workloads of a subnet come to their addresses."""

    DHCPV4 = "dhcpv4"
    SLAAC = "slaac"
    DHCPV6_STATELESS = "dhcpv6-stateless"
    DHCPV6_STATEFUL = "dhcpv6-stateful"


@dataclass(frozen=True, slots=True)
class Route:
    """A route that clients of a subnet are told of."""

    destination: IPv4Network
    next_hop: IPv4Address


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet with DHCP.

    *dns_servers* None: no choice was made, the agent answers itself; empty: clients shall be told
    of none. Both families' members are of the subnet's own family.
    """

    subnet_id: str
    network_id: str
    cidr: Network
    mode: Mode
    gateway: Address | None = None
    dns_servers: tuple[Address, ...] | None = None
    routes: tuple[Route, ...] = ()

    @property
    def tag(self) -> str:
        """The tag that dnsmasq knows the subnet by."""
        return f"subnet-{self.subnet_id}"

    @property
    def local_gateway(self) -> Address | None:
        """The gateway, if it is one of the subnet's own addresses; others are not ours to hold."""
        return self.gateway if self.gateway is not None and self.gateway in self.cidr else None


@dataclass(frozen=True, slots=True)
class ExtraOption:
    """A DHCP option that a port's owner chose, for DHCPv4 or DHCPv6 by *version*.

    *items* are the parts of its value, addresses of IPv6 in brackets; without any, the option is
    not sent at all. *tag* is empty, or says which clients it is for.
    """

    version: int
    code: int
    items: tuple[str, ...]
    is_text: bool = False
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A workload's interface on this host.

    *addresses* are those that were allocated to it, without those of allowed address pairs.
    *network_id* and *fqdn* are empty where the datastore does not tell.
    """

    key: str
    port_id: str
    interface: str
    mac: str
    addresses: tuple[Address, ...]
    network_id: str = ""
    fqdn: str = ""
    options: tuple[ExtraOption, ...] = ()

    @property
    def tag(self) -> str:
        """The tag that dnsmasq knows the port by."""
        return f"port-{self.port_id}"


@dataclass(frozen=True, slots=True)
class NetworkState:
    """What is known about one network: its ports whose interfaces exist, and its subnets.

    *mtus* has the MTU of each port's interface, by the interface's name.
    """

    network_id: str
    ports: tuple[Port, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    mtus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose for all networks.

    *lease_seconds* may be INFINITE_LEASE. *forwarders* answer what the networks' own name servers
    do not know; without any they answer for local names only. Clients are told of *ntp_servers*.
    """

    lease_seconds: int = 86400
    dns_domain: str = "openstacklocal"
    forwarders: tuple[Address, ...] = ()
    ntp_servers: tuple[Address, ...] = ()

"""What one network's services have to serve: the input of `dhcp4`, `dhcp6` and `dns`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from calico_openstack.dhcp.model import Address, Port, Settings, Subnet


@dataclass(frozen=True, slots=True)
class Allocation:
    """An address of a port, and the subnet that it is of."""

    port: Port
    address: Address
    subnet: Subnet

    def host_name(self) -> str:
        """Return the host's name, without domain: the port's own or one made of the address."""
        if self.port.fqdn:
            return self.port.fqdn.partition(".")[0]
        return "host-" + self.address.exploded.replace(".", "-").replace(":", "-")

    def domain(self, settings: Settings) -> str:
        """Return the host's domain, which may be empty."""
        if self.port.fqdn:
            return self.port.fqdn.partition(".")[2]
        return settings.dns_domain


@dataclass(frozen=True, slots=True)
class Serving:
    """A network with ports on this host.

    *device* holds *addresses*; *mtu* is what fits through all ports, *mtus* has each interface's.
    *ports* have at least one allocation, *subnets* too. *name_server* are the addresses at which
    the network's own name server listens; without any there is none.
    """

    network_id: str
    device: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    mtu: int
    mtus: Mapping[str, int]
    ports: tuple[Port, ...]
    subnets: tuple[Subnet, ...]
    allocations: tuple[Allocation, ...]
    name_server: tuple[Address, ...]

    def subnets_of(self, version: int) -> tuple[Subnet, ...]:
        """Return the subnets of an IP version."""
        return tuple(subnet for subnet in self.subnets if subnet.cidr.version == version)

    def allocations_of(self, version: int) -> tuple[Allocation, ...]:
        """Return the allocations of an IP version, in the order of ports and their addresses."""
        return tuple(a for a in self.allocations if a.address.version == version)

    def name_servers_of(self, subnet: Subnet) -> tuple[Address, ...]:
        """Return the name servers that clients of a subnet are told of."""
        if subnet.dns_servers is not None:
            return subnet.dns_servers
        gateway = subnet.local_gateway
        return () if gateway is None else (gateway,)

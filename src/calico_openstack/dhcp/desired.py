"""What a network needs on this host, as a function of what is known about it. Pure.

The result is complete and independent of what was before: the same state gives the same plan,
whatever led to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

from calico_openstack.dhcp import dhcp4, dhcp6, dns
from calico_openstack.dhcp.dnsmasq import Service
from calico_openstack.dhcp.model import Address, NetworkState, Port, Problem, Settings, Subnet
from calico_openstack.dhcp.serving import Allocation, Serving

DEVICE_PREFIX: Final = "ns-"
_DEVICE_ID_LENGTH: Final = 11
# dnsmasq takes no request for a device without an IPv4 address. This one, link-local (RFC 3927),
# serves networks that have no gateway; it is never a next hop and never leaves the host.
ANCHOR: Final = IPv4Interface("169.254.1.1/32")
# Router advertisements are composed for a device that has a link-local address.
LINK_LOCAL: Final = IPv6Interface("fe80::1/64")
_MINIMUM_IPV6_MTU: Final = 1280

InterfaceAddress = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Device:
    """A network's own interface: name, MTU in bytes, addresses with their prefix lengths."""

    name: str
    network_id: str
    mtu: int
    addresses: tuple[InterfaceAddress, ...]


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """Everything that one network needs on this host; nothing where it has no port here."""

    network_id: str
    device: Device | None = None
    services: tuple[Service, ...] = ()
    problems: tuple[Problem, ...] = ()


def device_name(network_id: str) -> str:
    """Return the name of a network's interface."""
    return DEVICE_PREFIX + network_id[:_DEVICE_ID_LENGTH]


def plan_network(state: NetworkState, settings: Settings) -> NetworkPlan:
    """Return what a network needs."""
    allocations, problems = _allocations(state)
    if not allocations:
        return NetworkPlan(state.network_id, problems=problems)
    # Only subnets that a port here has an address of: others would be served for nobody.
    used = {allocation.subnet for allocation in allocations}
    subnets = tuple(subnet for subnet in state.subnets if subnet in used)
    ports = tuple(dict.fromkeys(allocation.port for allocation in allocations))
    device = _device(state, subnets, ports)
    serving = Serving(
        network_id=state.network_id,
        device=device.name,
        addresses=device.addresses,
        mtu=device.mtu,
        mtus={port.interface: state.mtus[port.interface] for port in ports},
        ports=ports,
        subnets=subnets,
        allocations=allocations,
        name_server=_name_server(subnets),
    )
    services = (
        dhcp4.service(serving, settings),
        dhcp6.service(serving, settings),
        dns.service(serving, settings),
    )
    return NetworkPlan(
        network_id=state.network_id,
        device=device,
        services=tuple(service for service in services if service is not None),
        problems=problems,
    )


def _allocations(state: NetworkState) -> tuple[tuple[Allocation, ...], tuple[Problem, ...]]:
    """Return the addresses of the ports with their subnets, and the ones without."""
    allocations, problems = [], []
    for port in state.ports:
        for address in port.addresses:
            subnet = _subnet_of(address, state.subnets)
            if subnet is None:
                reason = f"no subnet with DHCP is known for {address}"
                problems.append(Problem(port.key, "spec.ipNetworks", reason))
            else:
                allocations.append(Allocation(port, address, subnet))
    return tuple(allocations), tuple(problems)


def _subnet_of(address: Address, subnets: tuple[Subnet, ...]) -> Subnet | None:
    containing = [subnet for subnet in subnets if address in subnet.cidr]
    # Subnets of a network do not overlap; should they, the narrowest is the likeliest.
    return max(containing, key=lambda subnet: subnet.cidr.prefixlen, default=None)


def _device(state: NetworkState, subnets: tuple[Subnet, ...], ports: tuple[Port, ...]) -> Device:
    addresses: list[InterfaceAddress] = []
    for subnet in subnets:
        address = _serving_address(subnet)
        if address is not None:
            addresses.append(address)
    versions = {subnet.cidr.version for subnet in subnets}
    if 4 in versions and not any(address.version == 4 for address in addresses):
        addresses.append(ANCHOR)
    mtu = min(state.mtus[port.interface] for port in ports)
    if 6 in versions:
        addresses.append(LINK_LOCAL)
        mtu = max(mtu, _MINIMUM_IPV6_MTU)
    ordered = sorted(set(addresses), key=lambda a: (a.version, a.ip.packed, a.network.prefixlen))
    return Device(device_name(state.network_id), state.network_id, mtu, tuple(ordered))


def _serving_address(subnet: Subnet) -> InterfaceAddress | None:
    """Return the address by which dnsmasq recognises a subnet, if it needs one in it."""
    gateway = subnet.local_gateway
    if subnet.cidr.version == 4:
        return None if gateway is None else IPv4Interface(f"{gateway}/{subnet.cidr.prefixlen}")
    if gateway is None or gateway == subnet.cidr.network_address:
        # The subnet-router anycast address (RFC 4291 section 2.6.1) is never a workload's.
        gateway = IPv6Address(int(subnet.cidr.network_address))
    return IPv6Interface(f"{gateway}/{subnet.cidr.prefixlen}")


def _name_server(subnets: tuple[Subnet, ...]) -> tuple[Address, ...]:
    """Return the addresses at which the network's own name server must listen."""
    gateways = [subnet.local_gateway for subnet in subnets]
    wanted: set[Address] = set()
    for subnet, gateway in zip(subnets, gateways, strict=True):
        if subnet.dns_servers is None:
            wanted |= {gateway} if gateway is not None else set()
        else:
            wanted |= {server for server in subnet.dns_servers if server in gateways}
    return tuple(sorted(wanted, key=lambda address: (address.version, address.packed)))

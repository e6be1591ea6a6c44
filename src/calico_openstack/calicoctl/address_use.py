"""Which addresses endpoints use, and from which pools and subnets they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel import DhcpSubnet, IPPool, WorkloadEndpoint
from calico_openstack.datamodel.addresses import Address, Network, parse_network

POOL, SUBNET = "IP Pool", "Subnet"
OWN, SHARED, FLOATING = "own address", "allowed address pair", "floating IP"
_SHOWN: Final = 5


class Range(Struct, frozen=True):
    """Addresses that belong together; *reserved* are those of them that no port can have."""

    grouping: str
    network: Network
    reserved: frozenset[Address] = frozenset()


class Use(Struct, frozen=True):
    """An address that a port on a host has: its own, one of a pair, or a floating IP."""

    address: Address
    port: str
    host: str
    how: str
    workload: str = ""


def uses_of(endpoints: Iterable[WorkloadEndpoint]) -> Iterator[Use]:
    """Yield the addresses that endpoints use."""
    for endpoint in endpoints:
        spec = endpoint.spec
        for text in spec.ip_networks:
            network = parse_network(text)
            if network is not None:
                how = SHARED if text in spec.allowed_ips else OWN
                address = network.network_address
                yield Use(address, spec.endpoint, spec.node, how, spec.workload)
        for nat in spec.ip_nats:
            external = parse_network(nat.external_ip)
            if external is not None:
                address = external.network_address
                yield Use(address, spec.endpoint, spec.node, FLOATING, spec.workload)


def ranges_of(pools: Iterable[IPPool], subnets: Iterable[DhcpSubnet]) -> list[Range]:
    """Return pools and Neutron's subnets with DHCP, each kind in the order of addresses."""
    found = []
    for pool in pools:
        if (network := parse_network(pool.spec.cidr)) is not None:
            found.append(Range(POOL, network))
    for subnet in subnets:
        if (network := parse_network(subnet.cidr)) is not None:
            gateway = parse_network(subnet.gateway_ip or "")
            reserved = {gateway.network_address} if gateway is not None else set()
            found.append(Range(SUBNET, network, frozenset(reserved)))
    found.sort(key=lambda each: (each.grouping, each.network.version, each.network))
    return found


def utilisation(ranges: Sequence[Range], uses: Iterable[Use]) -> Iterator[list[str]]:
    """Yield for each range its kind, network, and addresses in all, used, reserved and free."""
    used = {use.address for use in uses}
    for each in ranges:
        total = each.network.num_addresses
        taken = {address for address in used if address in each.network}
        reserved = len({address for address in each.reserved if address in each.network} - taken)
        numbers = (len(taken), reserved, total - len(taken) - reserved)
        shares = (f"{number:.5g} ({number / total:.0%})" for number in numbers)
        yield [each.grouping, str(each.network), f"{total:.5g}", *shares]


def owner_lines(text: str, ranges: Sequence[Range], uses: Iterable[Use]) -> Iterator[str]:
    """Yield who uses an address; raises ValueError if *text* is none."""
    address = ip_address(text)
    found = [use for use in uses if use.address == address]
    if not found:
        yield f"{address} is not assigned"
    else:
        yield f"IP {address} is in use"
        for use in found:
            workload = f" of instance {use.workload}" if use.workload else ""
            yield f"  {use.how} of port {use.port}{workload} on {use.host}"
    for each in ranges:
        if address in each.network:
            what = " (reserved: the gateway)" if address in each.reserved else ""
            yield f"  in {each.grouping} {each.network}{what}"


def problems(ranges: Sequence[Range], uses: Sequence[Use]) -> Iterator[str]:
    """Yield addresses that several ports have, and those outside of all ranges, with remedies.

    Where etcd has no range, nothing can be outside.
    """
    by_address: dict[Address, list[Use]] = {}
    for use in uses:
        by_address.setdefault(use.address, []).append(use)
    for address, owners in sorted(by_address.items(), key=lambda item: _order(item[0])):
        own = [use for use in owners if use.how != SHARED]
        if len({use.port for use in own}) > 1:
            ports = ", ".join(sorted(f"{use.port} on {use.host}" for use in own)[:_SHOWN])
            yield (
                f"{address} is used by {len(own)} ports: {ports}; give all but one of them another "
                "address (openstack port set --fixed-ip)"
            )
        own_networks = [each.network for each in ranges if each.network.version == address.version]
        if own and own_networks and not any(address in network for network in own_networks):
            yield (
                f"{address} ({own[0].how} of port {own[0].port}) is in no IP pool and no subnet "
                "with DHCP: openstack subnet list tells if it is in one without DHCP; else the "
                "port is a leftover, which calico-resync mends"
            )
        if any(address in each.reserved for each in ranges) and own:
            yield (
                f"{address} of port {own[0].port} is the gateway of its subnet: the hosts answer "
                "for it; give the port another address"
            )


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)

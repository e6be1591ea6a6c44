"""Which addresses endpoints use, and from which pools and subnets they are. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel import DhcpSubnet, IPPool, WorkloadEndpoint
from calico_openstack.datamodel.addresses import Address, Network, packed_host, parse_network

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


class RangeIndex:
    """Ranges by the addresses in them: many addresses are looked up in many ranges."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._by_length: dict[tuple[int, int], dict[int, list[Range]]] = {}
        for each in ranges:
            network = each.network
            shift = network.max_prefixlen - network.prefixlen
            beginnings = self._by_length.setdefault((network.version, shift), {})
            beginnings.setdefault(int(network.network_address) >> shift, []).append(each)

    def of(self, address: Address) -> Iterator[Range]:
        """Yield the ranges that have an address."""
        number = int(address)
        for (version, shift), beginnings in self._by_length.items():
            if version == address.version:
                yield from beginnings.get(number >> shift, ())


def uses_of(endpoints: Iterable[WorkloadEndpoint]) -> Iterator[Use]:
    """Yield the addresses that endpoints use."""
    for endpoint in endpoints:
        spec = endpoint.spec
        for text in spec.ip_networks:
            packed = packed_host(text)
            if packed is not None:
                how = SHARED if text in spec.allowed_ips else OWN
                yield Use(ip_address(packed), spec.endpoint, spec.node, how, spec.workload)
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
    index = RangeIndex(ranges)
    taken = Counter(id(each) for address in used for each in index.of(address))
    for each in ranges:
        total = each.network.num_addresses
        reserved = sum(a in each.network for a in each.reserved - used)
        numbers = (taken[id(each)], reserved, total - taken[id(each)] - reserved)
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
    index = RangeIndex(ranges)
    versions = {each.network.version for each in ranges}
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
        found = list(index.of(address))
        if own and not found and address.version in versions:
            yield (
                f"{address} ({own[0].how} of port {own[0].port}) is in no IP pool and no subnet "
                "with DHCP: openstack subnet list tells if it is in one without DHCP; else the "
                "port is a leftover, which calico-resync mends"
            )
        if any(address in each.reserved for each in found) and own:
            yield (
                f"{address} of port {own[0].port} is the gateway of its subnet: the hosts answer "
                "for it; give the port another address"
            )


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)

"""From the datastore's values to the agent's terms. Pure.

Nothing gets past here that could be taken for syntax in dnsmasq's files or leave its directory:
identifiers, names and addresses are checked; what does not pass is left out and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Final, TypeVar

from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import quoted
from calico_openstack.datamodel.openstack import FQDN_ANNOTATION, NETWORK_ANNOTATION
from calico_openstack.dhcp.model import Address, Mode, Network, Port, Problem, Route, Subnet
from calico_openstack.dhcp.names import is_domain_name
from calico_openstack.dhcp.port_options import read_options

UNNAMED_NETWORK: Final = "calico"
"""The network of subnets that old releases wrote without one."""

# Neutron's identifiers are UUIDs; others are taken if they can name a file and a tag.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_MAC: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
# An option of DHCPv4 has at most 255 octets (RFC 2132 section 2), and a line of dnsmasq's files at
# most 1024 characters, of which the longest route takes 34 and an address 16.
_MOST_ROUTES: Final = 24
_MOST_SERVERS: Final = 15

_T = TypeVar("_T")


def read_port(key: str, endpoint: WorkloadEndpoint) -> tuple[Port | None, tuple[Problem, ...]]:
    """Return the port that an endpoint stands for, None if it has nothing to be served with."""
    spec = endpoint.spec
    problems = [
        Problem(key, member, f"{quoted(value)} cannot be used")
        for member, value, pattern in (
            ("spec.endpoint", spec.endpoint, _IDENTIFIER),
            ("spec.interfaceName", spec.interface_name, _INTERFACE),
            ("spec.mac", spec.mac, _MAC),
        )
        if not pattern.fullmatch(value)
    ]
    annotations = endpoint.metadata.annotations or {}
    network_id = annotations.get(NETWORK_ANNOTATION, "")
    if network_id and not _IDENTIFIER.fullmatch(network_id):
        problems.append(
            Problem(key, f"metadata.annotations[{NETWORK_ANNOTATION}]", f"{quoted(network_id)}")
        )
    if problems:
        return None, tuple(problems)
    addresses, problems = _own_addresses(key, spec.ip_networks, spec.allowed_ips)
    fqdn = annotations.get(FQDN_ANNOTATION, "").rstrip(".")
    if fqdn and not is_domain_name(fqdn):
        reason = f"{quoted(fqdn)} is no domain name; a name is made from the address"
        problems.append(Problem(key, f"metadata.annotations[{FQDN_ANNOTATION}]", reason))
        fqdn = ""
    if not addresses:
        return None, tuple(problems)
    options, refused = read_options(key, annotations)
    port = Port(
        key=key,
        port_id=spec.endpoint,
        interface=spec.interface_name,
        mac=spec.mac,
        addresses=addresses,
        network_id=network_id,
        fqdn=fqdn.lower(),
        options=options,
    )
    return port, (*problems, *refused)


def _own_addresses(
    key: str, networks: Iterable[str], allowed: Iterable[str]
) -> tuple[tuple[Address, ...], list[Problem]]:
    """Return the single addresses among *networks* less those of allowed address pairs.

    The driver writes the allocated addresses first and the pairs' after them, so that a pair that
    repeats an allocated address takes away the repetition and not the allocation.
    """
    remaining, problems = list(networks), []
    for text in allowed:
        for position in range(len(remaining) - 1, -1, -1):
            if remaining[position] == text:
                del remaining[position]
                break
    addresses: dict[Address, None] = {}
    for text in remaining:
        try:
            interface = ip_interface(text)
        except ValueError:
            problems.append(Problem(key, "spec.ipNetworks", f"{quoted(text)} is no address"))
            continue
        if interface.network.prefixlen == interface.max_prefixlen:
            addresses[interface.ip] = None
    return tuple(addresses), problems


def read_subnet(
    key: str, subnet_id: str, stored: DhcpSubnet
) -> tuple[Subnet | None, tuple[Problem, ...]]:
    """Return the subnet that a value stands for, None if it cannot be served."""
    network_id = stored.network_id or UNNAMED_NETWORK
    if not _IDENTIFIER.fullmatch(subnet_id):
        return None, (Problem(key, "", "the subnet's identifier cannot be used"),)
    if not _IDENTIFIER.fullmatch(network_id):
        return None, (Problem(key, "network_id", f"{quoted(network_id)} cannot be used"),)
    try:
        cidr = ip_network(stored.cidr, strict=False)
    except ValueError:
        return None, (Problem(key, "cidr", f"{quoted(stored.cidr)} is no network"),)
    mode = _mode(cidr, stored)
    if problem := _unservable(key, cidr, mode):
        return None, (problem,)
    problems: list[Problem] = []
    gateway = None
    if stored.gateway_ip:
        gateway = _address(key, "gateway_ip", stored.gateway_ip, cidr.version, problems)
    subnet = Subnet(
        subnet_id=subnet_id,
        network_id=network_id,
        cidr=cidr,
        mode=mode,
        gateway=gateway,
        dns_servers=_dns_servers(key, stored, cidr.version, problems),
        routes=_routes(key, stored, problems) if cidr.version == 4 else (),
    )
    return subnet, tuple(problems)


def _mode(cidr: Network, stored: DhcpSubnet) -> Mode:
    if cidr.version == 4:
        return Mode.DHCPV4
    if stored.ipv6_ra_mode == stored.ipv6_address_mode:
        if stored.ipv6_address_mode == Mode.SLAAC.value:
            return Mode.SLAAC
        if stored.ipv6_address_mode == Mode.DHCPV6_STATELESS.value:
            return Mode.DHCPV6_STATELESS
    # Nobody but this host advertises the router and the need of DHCPv6.
    return Mode.DHCPV6_STATEFUL


def _unservable(key: str, cidr: Network, mode: Mode) -> Problem | None:
    """Return why dnsmasq cannot serve a subnet, if it cannot."""
    if isinstance(cidr, IPv6Network):
        if cidr.prefixlen < 64:
            return Problem(key, "cidr", f"{cidr}: prefixes shorter than /64 cannot be served")
        if cidr.prefixlen > 64 and mode is not Mode.DHCPV6_STATEFUL:
            return Problem(key, "cidr", f"{cidr}: {mode.value} needs a prefix of /64")
    elif cidr.prefixlen == 0:
        return Problem(key, "cidr", f"{cidr} cannot be served")
    return None


def _address(
    key: str, member: str, text: str, version: int, problems: list[Problem]
) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        problems.append(Problem(key, member, f"{quoted(text)} is no IPv{version} address"))
        return None
    return address


def _dns_servers(
    key: str, stored: DhcpSubnet, version: int, problems: list[Problem]
) -> tuple[Address, ...] | None:
    """Return the name servers of a subnet; the unspecified address stands for none at all."""
    if not stored.dns_servers:
        return None
    found = [_address(key, "dns_servers", text, version, problems) for text in stored.dns_servers]
    usable = [address for address in found if address is not None]
    servers = _unique(address for address in usable if not address.is_unspecified)
    return tuple(_first(key, "dns_servers", servers, _MOST_SERVERS, problems))


def _routes(key: str, stored: DhcpSubnet, problems: list[Problem]) -> tuple[Route, ...]:
    routes = []
    for route in stored.host_routes:
        try:
            destination = IPv4Network(route.destination, strict=False)
            next_hop = IPv4Address(route.nexthop)
        except ValueError:
            text = f"{quoted(route.destination)} via {quoted(route.nexthop)} is no IPv4 route"
            problems.append(Problem(key, "host_routes", text))
            continue
        routes.append(Route(destination, next_hop))
    return tuple(_first(key, "host_routes", _unique(routes), _MOST_ROUTES, problems))


def _first(key: str, member: str, items: list[_T], most: int, problems: list[Problem]) -> list[_T]:
    """Return as many items as clients can be told of."""
    if len(items) > most:
        problems.append(Problem(key, member, f"only the first {most} of {len(items)} are told"))
    return items[:most]


def _unique(items: Iterable[_T]) -> list[_T]:
    """Return items without repetitions, in their order."""
    return list(dict.fromkeys(items))

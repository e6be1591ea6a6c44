"""A network's DHCPv4 service (RFC 2131), its options (RFC 2132, RFC 3442). Pure."""

from __future__ import annotations

from typing import Final

from calico_openstack.dhcp.dnsmasq import (
    Role,
    Service,
    host_line,
    interface_options,
    lease_time,
    option_line,
)
from calico_openstack.dhcp.model import Settings, Subnet
from calico_openstack.dhcp.serving import Allocation, Serving

# Room for every port, and for those that are being replaced.
_MINIMUM_LEASES: Final = 100
# What Windows called option 121 before it had a number (MS-DHCPE section 2.2.8).
_MICROSOFT_ROUTES: Final = 249
# The option that iPXE sends, with its features (https://ipxe.org/howto/dhcpd).
_IPXE: Final = 175


def service(serving: Serving, settings: Settings) -> Service | None:
    """Return the DHCPv4 service of a network, None if it has no use for one."""
    subnets = serving.subnets_of(4)
    allocations = _first_of_each_port(serving.allocations_of(4))
    if not allocations:
        return None
    lease = lease_time(settings.lease_seconds)
    options = [
        "port=0",
        *interface_options(serving.device, (a.port.interface for a in allocations)),
        "dhcp-authoritative",
        # An unknown client is not told off: its port may be about to become known.
        "dhcp-ignore=tag:!known",
        f"dhcp-match=set:ipxe,{_IPXE}",
        # Unicast to a client without address would need a neighbour entry, which is Felix's.
        "dhcp-broadcast",
        "no-ping",
        "leasefile-ro",
        f"dhcp-lease-max={max(_MINIMUM_LEASES, 2 * len(allocations))}",
        *(
            f"dhcp-range=set:{s.tag},{s.cidr.network_address},static,{s.cidr.netmask},{lease}"
            for s in subnets
        ),
        *_shared_networks(serving, subnets),
        # The hosts file must set no tags: dnsmasq 2.90 dies of a SIGHUP after it has used one.
        *(f"dhcp-mac=set:{a.port.tag},{a.port.mac}" for a in allocations),
        *_mtu_options(serving, allocations),
    ]
    return Service(
        network_id=serving.network_id,
        role=Role.DHCP4,
        options=tuple(options),
        files={
            "dhcp-hostsfile": tuple(_host(allocation) for allocation in allocations),
            "dhcp-optsfile": (
                *_ntp_option(settings),
                *(line for subnet in subnets for line in _subnet_options(serving, subnet)),
                *(_domain_option(a, settings) for a in allocations if a.domain(settings)),
                # Of several options of one number dnsmasq takes the one with a tag of the client,
                # and of those the last one: what was chosen for a port wins.
                *(
                    option_line(option, a.port.tag)
                    for a in allocations
                    for option in a.port.options
                    if option.version == 4
                ),
            ),
        },
        assignments=tuple(str(allocation.address) for allocation in allocations),
    )


def _first_of_each_port(allocations: tuple[Allocation, ...]) -> tuple[Allocation, ...]:
    """Return the allocations that are handed out: DHCPv4 gives a client one address."""
    first: dict[str, Allocation] = {}
    for allocation in allocations:
        first.setdefault(allocation.port.key, allocation)
    return tuple(first.values())


def _host(allocation: Allocation) -> str:
    return host_line(allocation.port.mac, [str(allocation.address)], allocation.host_name())


def _shared_networks(serving: Serving, subnets: tuple[Subnet, ...]) -> list[str]:
    """Return the options that connect subnets to the device that has no address of theirs."""
    held = [address for address in serving.addresses if address.version == 4]
    return [
        f"shared-network={held[0].ip},{subnet.cidr.network_address}"
        for subnet in subnets
        if not any(address.ip in subnet.cidr for address in held)
    ]


def _mtu_options(serving: Serving, allocations: tuple[Allocation, ...]) -> list[str]:
    """Return options with the MTU, sent to clients that do not ask for it too."""
    ports = [allocation.port for allocation in allocations]
    mtus = {serving.mtus[port.interface] for port in ports}
    if len(mtus) == 1:
        return [f"dhcp-option-force=option:mtu,{mtus.pop()}"]
    return [
        f"dhcp-option-force=tag:{port.tag},option:mtu,{serving.mtus[port.interface]}"
        for port in ports
    ]


def _subnet_options(serving: Serving, subnet: Subnet) -> list[str]:
    """Return the options of a subnet; an option without value keeps dnsmasq's own out."""
    tag = f"tag:{subnet.tag}"
    router = "" if subnet.gateway is None else f",{subnet.gateway}"
    servers = "".join(f",{server}" for server in serving.name_servers_of(subnet))
    lines = [f"{tag},option:router{router}", f"{tag},option:dns-server{servers}"]
    if routes := _classless_routes(subnet):
        flat = ",".join(f"{destination},{next_hop}" for destination, next_hop in routes)
        lines.append(f"{tag},option:classless-static-route,{flat}")
        lines.append(f"{tag},{_MICROSOFT_ROUTES},{flat}")
    return lines


def _classless_routes(subnet: Subnet) -> list[tuple[str, str]]:
    """Return the routes of option 121, none where the router option says everything.

    A client that takes option 121 ignores the router option, so the default route is in both. A
    gateway outside of the subnet is first declared to be on the link.
    """
    outside = subnet.gateway is not None and subnet.local_gateway is None
    if not subnet.routes and not outside:
        return []
    routes = [(str(route.destination), str(route.next_hop)) for route in subnet.routes]
    if subnet.gateway is not None:
        if outside:
            routes.insert(0, (f"{subnet.gateway}/32", "0.0.0.0"))
        if not any(route.destination.prefixlen == 0 for route in subnet.routes):
            routes.append(("0.0.0.0/0", str(subnet.gateway)))
    return routes


def _ntp_option(settings: Settings) -> list[str]:
    servers = [str(server) for server in settings.ntp_servers if server.version == 4]
    return [",".join(["option:ntp-server", *servers])] if servers else []


def _domain_option(allocation: Allocation, settings: Settings) -> str:
    return f"tag:{allocation.port.tag},option:domain-name,{allocation.domain(settings)}"

"""A network's IPv6 service: router advertisements (RFC 4861) and DHCPv6 (RFC 8415). Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from calico_openstack.dhcp.dnsmasq import (
    Role,
    Service,
    host_line,
    interface_options,
    lease_time,
    option_line,
)
from calico_openstack.dhcp.model import Mode, Port, Settings, Subnet
from calico_openstack.dhcp.serving import Allocation, Serving

# DUID-EN (RFC 8415 section 11.3) under the reserved enterprise number 0: an identifier that is
# the network's, so that every host is the same server to its clients.
_ENTERPRISE: Final = 0
_IDENTIFIER_LENGTH: Final = 16

# off-link: neighbours are not to be resolved on the link, they are reached through the host.
_RANGE_MODES: Final = {
    Mode.SLAAC: "ra-only,off-link",
    Mode.DHCPV6_STATELESS: "ra-stateless,off-link",
    Mode.DHCPV6_STATEFUL: "static,off-link",
}


def service(serving: Serving, settings: Settings) -> Service | None:
    """Return the IPv6 service of a network, None if it has no use for one."""
    subnets = serving.subnets_of(6)
    allocations = serving.allocations_of(6)
    if not allocations:
        return None
    lease = lease_time(settings.lease_seconds)
    # Zero: this router is not to be a default router. Empty: dnsmasq's own choice.
    lifetime = "" if any(subnet.gateway is not None for subnet in subnets) else ",0"
    options = [
        "port=0",
        *interface_options(serving.device, (a.port.interface for a in allocations)),
        "enable-ra",
        "quiet-ra",
        f"ra-param={serving.device},mtu:{serving.mtu},0{lifetime}",
        f"dhcp-duid={_ENTERPRISE},{_server_identifier(serving.network_id)}",
        "dhcp-authoritative",
        "leasefile-ro",
        "dhcp-lease-max=0",
        # As Neutron's own agent calls clients that are iPXE.
        "dhcp-userclass=set:ipxe6,iPXE",
        *(
            f"dhcp-range=set:{s.tag},{s.cidr.network_address},"
            f"{_RANGE_MODES[s.mode]},{s.cidr.prefixlen},{lease}"
            for s in subnets
        ),
    ]
    told = _options(serving, subnets, settings)
    files = {"dhcp-hostsfile": tuple(_hosts(allocations)), "dhcp-optsfile": tuple(told)}
    if all(subnet.mode is Mode.SLAAC for subnet in subnets):
        # Where it only advertises, dnsmasq reads neither file.
        options += [f"dhcp-option={option}" for option in told]
        files = {}
    return Service(serving.network_id, Role.DHCP6, tuple(options), files)


def _server_identifier(network_id: str) -> str:
    digest = hashlib.sha256(network_id.encode()).digest()[:_IDENTIFIER_LENGTH]
    return ":".join(f"{octet:02x}" for octet in digest)


def _hosts(allocations: tuple[Allocation, ...]) -> list[str]:
    """Return one line for each port, with all addresses that are handed out to it.

    No tags are set here: dnsmasq 2.90 dies of a SIGHUP after it has used one.
    """
    by_port: dict[Port, list[Allocation]] = {}
    for allocation in allocations:
        by_port.setdefault(allocation.port, []).append(allocation)
    lines = []
    for port, owned in by_port.items():
        addresses = [f"[{a.address}]" for a in owned if a.subnet.mode is Mode.DHCPV6_STATEFUL]
        lines.append(host_line(port.mac, addresses, owned[0].host_name()))
    return lines


def _options(serving: Serving, subnets: tuple[Subnet, ...], settings: Settings) -> list[str]:
    """Return the options; what is for a subnet is in router advertisements too (RFC 8106)."""
    lines = []
    if settings.dns_domain:
        lines.append(f"option6:domain-search,{settings.dns_domain}")
    if ntp := [f"[{server}]" for server in settings.ntp_servers if server.version == 6]:
        lines.append(",".join(["option6:ntp-server", *ntp]))
    for subnet in subnets:
        servers = "".join(f",[{server}]" for server in serving.name_servers_of(subnet))
        lines.append(f"tag:{subnet.tag},option6:dns-server{servers}")
    for port in dict.fromkeys(a.port for a in serving.allocations_of(6)):
        domain = port.fqdn.partition(".")[2]
        if domain and domain != settings.dns_domain:
            # dnsmasq tags what comes from an interface with the interface's name.
            lines.append(f"tag:{port.interface},option6:domain-search,{domain}")
        lines += [option_line(o, port.interface) for o in port.options if o.version == 6]
    return lines

"""Checks of the values that are not resources: DHCP subnets and status."""

from __future__ import annotations

import re
from typing import Final

from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import check_address, check_network

_IPV6_MODES: Final = frozenset({"", "slaac", "dhcpv6-stateful", "dhcpv6-stateless"})
_STATUSES: Final = frozenset({"up", "down", "error"})
_NETWORK_ID: Final = re.compile(r"[a-zA-Z0-9_.-]{0,128}")
# RFC 3339 section 5.6, upper case as all known writers have it.
TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


def check_subnet(findings: Findings, subnet: DhcpSubnet) -> None:
    """Check a DHCP subnet: its values end up in the configuration of a server."""
    if not _NETWORK_ID.fullmatch(subnet.network_id):
        findings.reject("network_id", subnet.network_id, "the identifier of a network")
    network = check_network(findings, "cidr", subnet.cidr, strict=True)
    version = network.version if network else None
    if subnet.gateway_ip is not None:
        check_address(findings, "gateway_ip", subnet.gateway_ip, version=version)
        if not subnet.gateway_ip:
            findings.add("gateway_ip", "is empty; a subnet without gateway has null")
    for index, route in enumerate(subnet.host_routes):
        field = f"host_routes[{index}]"
        check_network(findings, f"{field}.destination", route.destination, version=version)
        if not route.nexthop:
            findings.add(f"{field}.nexthop", "is empty")
        check_address(findings, f"{field}.nexthop", route.nexthop, version=version)
    for index, server in enumerate(subnet.dns_servers):
        if not server:
            findings.add(f"dns_servers[{index}]", "is empty")
        check_address(findings, f"dns_servers[{index}]", server)
    findings.require_one_of("ipv6_ra_mode", subnet.ipv6_ra_mode, _IPV6_MODES)
    findings.require_one_of("ipv6_address_mode", subnet.ipv6_address_mode, _IPV6_MODES)


def check_agent_status(findings: Findings, status: AgentStatus) -> None:
    """Check a sign of life."""
    if not TIMESTAMP.fullmatch(status.time):
        findings.reject("time", status.time, "a time such as 2026-08-22T09:30:00Z")


def check_endpoint_status(findings: Findings, status: EndpointStatus) -> None:
    """Check an endpoint's status."""
    findings.require_one_of("status", status.status, _STATUSES)

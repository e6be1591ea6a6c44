"""A subnet with DHCP becomes the value from which the DHCP agents serve it."""

from __future__ import annotations

from calico_openstack.datamodel.dhcp import DhcpSubnet, HostRoute
from calico_openstack.neutron.translate.facts import Problem, SubnetFacts


def translate_subnet(subnet: SubnetFacts) -> DhcpSubnet | None:
    """Translate a subnet; None where DHCP is off.

    The two IPv6 modes count only together: a subnet with one of them is announced or
    addressed by somebody else.
    """
    if not subnet.enable_dhcp:
        return None
    modes = subnet.ipv6_ra_mode and subnet.ipv6_address_mode
    return DhcpSubnet(
        network_id=subnet.network_id,
        cidr=subnet.cidr,
        host_routes=tuple(
            HostRoute(destination=route.destination, nexthop=route.nexthop)
            for route in sorted(
                subnet.host_routes, key=lambda route: (route.destination, route.nexthop)
            )
        ),
        gateway_ip=subnet.gateway_ip,
        dns_servers=subnet.dns_servers,
        ipv6_ra_mode=(subnet.ipv6_ra_mode or "") if modes else "",
        ipv6_address_mode=(subnet.ipv6_address_mode or "") if modes else "",
    )


def route_problems(subnet: SubnetFacts) -> tuple[Problem, ...]:
    """Return which host routes lead elsewhere than they say; workloads are told of them.

    What a workload sends to any next hop reaches its host, which routes it by the destination.
    """
    return tuple(
        Problem(
            f"subnet {subnet.id}",
            "host_routes",
            f"the host routes packets to {route.destination} itself, not by {route.nexthop}",
        )
        for route in subnet.host_routes
        if route.nexthop != subnet.gateway_ip
    )

"""Ports, subnets and what is planned for them, in few words."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from calico_openstack.dhcp.desired import NetworkPlan, plan_network
from calico_openstack.dhcp.dnsmasq import Role, Service
from calico_openstack.dhcp.model import Mode, NetworkState, Port, Settings, Subnet

NET = "11111111-aaaa-4000-8000-000000000001"


def port(number: int, *addresses: str, network_id: str = NET, **more: Any) -> Port:
    """Return a port named by a number."""
    return Port(
        key=f"/endpoint/{number:04}",
        port_id=f"p{number}",
        interface=f"tap{number}",
        mac=f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        addresses=tuple(ip_address(address) for address in addresses),
        network_id=network_id,
        **more,
    )


def subnet(subnet_id: str, cidr: str, gateway: str = "", **more: Any) -> Subnet:
    """Return a subnet; IPv6 is stateful unless told otherwise."""
    network = ip_network(cidr)
    more.setdefault("mode", Mode.DHCPV4 if network.version == 4 else Mode.DHCPV6_STATEFUL)
    more.setdefault("network_id", NET)
    if "dns_servers" in more and more["dns_servers"] is not None:
        more["dns_servers"] = tuple(ip_address(address) for address in more["dns_servers"])
    return Subnet(
        subnet_id=subnet_id,
        cidr=network,
        gateway=ip_address(gateway) if gateway else None,
        **more,
    )


V4 = subnet("v4", "10.65.0.0/24", "10.65.0.1", dns_servers=["192.0.2.53"])
V6 = subnet("v6", "fd65::/64", "fd65::1", dns_servers=["2001:db8::53"])


def plan(
    ports: tuple[Port, ...],
    *subnets: Subnet,
    settings: Settings | None = None,
    mtus: dict[str, int] | None = None,
) -> NetworkPlan:
    """Return what is planned for a network whose ports' interfaces have an MTU of 1500."""
    every = {each.interface: 1500 for each in ports}
    state = NetworkState(NET, ports, subnets, every | (mtus or {}))
    return plan_network(state, settings or Settings())


def service(planned: NetworkPlan, role: Role) -> Service:
    """Return the service of a role, which must be there."""
    (found,) = [each for each in planned.services if each.role is role]
    return found


def roles(planned: NetworkPlan) -> set[Role]:
    """Return the roles of the services there are."""
    return {each.role for each in planned.services}

"""Subnets as the Neutron driver hands them to the DHCP agents."""

from __future__ import annotations

import json

import msgspec


class HostRoute(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A route that DHCP clients are told of."""

    destination: str
    nexthop: str


class DhcpSubnet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Neutron subnet with DHCP. ``gateway_ip`` None is a subnet without gateway.

    ``network_id`` is empty in values of old releases.
    """

    network_id: str = ""
    cidr: str
    host_routes: tuple[HostRoute, ...] = ()
    gateway_ip: str | None
    dns_servers: tuple[str, ...] = ()
    ipv6_ra_mode: str = ""
    ipv6_address_mode: str = ""

    def encode(self) -> bytes:
        """Return the stored value.

        Other writers compare it byte for byte: the order of members, the separators and the
        members left out are theirs. The two IPv6 modes are written only together.
        """
        members: dict[str, object] = {
            "network_id": self.network_id,
            "cidr": self.cidr,
            "host_routes": [
                {"destination": route.destination, "nexthop": route.nexthop}
                for route in self.host_routes
            ],
            "gateway_ip": self.gateway_ip,
        }
        if self.dns_servers:
            members["dns_servers"] = list(self.dns_servers)
        if self.ipv6_ra_mode and self.ipv6_address_mode:
            members["ipv6_ra_mode"] = self.ipv6_ra_mode
            members["ipv6_address_mode"] = self.ipv6_address_mode
        return json.dumps(members).encode()

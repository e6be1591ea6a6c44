"""A network's own name server: the names of its ports here, and forwarding. Pure."""

from __future__ import annotations

from calico_openstack.dhcp.dnsmasq import Role, Service
from calico_openstack.dhcp.model import Settings
from calico_openstack.dhcp.serving import Serving


def service(serving: Serving, settings: Settings) -> Service | None:
    """Return the name service of a network, None if no client is told of one."""
    if not serving.name_server:
        return None
    local = [f"local=/{settings.dns_domain}/"] if settings.dns_domain else []
    names: dict[str, None] = {}
    for allocation in serving.allocations:
        host, domain = allocation.host_name(), allocation.domain(settings)
        qualified = f"{host}.{domain} {host}" if domain else host
        names[f"{allocation.address}\t{qualified}"] = None
    return Service(
        network_id=serving.network_id,
        role=Role.DNS,
        options=(
            "bind-dynamic",
            *(f"listen-address={address}" for address in serving.name_server),
            "except-interface=lo",
            *local,
            *(f"server={address}" for address in settings.forwarders),
        ),
        files={"addn-hosts": tuple(names)},
    )

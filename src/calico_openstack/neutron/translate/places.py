"""On which hosts a port has an endpoint, also while its workload migrates. Pure.

Nova announces a live migration in two ways, and uses both: it makes a second, inactive binding
on the target host, and names the target in the profile of the active one. A failed migration
takes both away; a successful one activates the second binding and deletes the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from calico_openstack.neutron.translate.facts import VIF_UNBOUND, Binding, PortFacts

# Device owners of ports that a hypervisor or container host plugs as a TAP device. All other
# ports (routers, DHCP, trunk subports, load balancers) exist in Neutron only.
ENDPOINT_OWNERS = ("compute:", "kuryr:container")

VIF_BINDING_FAILED = "binding_failed"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a port is.

    ``host`` is empty where it is nowhere. ``rebinding`` tells that ML2 has taken the binding
    to that host away and not yet made it anew: an endpoint that is there stays, and goes on
    following the port, but none is made. ``targets`` are the hosts that it may move to, sorted.
    """

    host: str = ""
    rebinding: bool = False
    targets: tuple[str, ...] = ()


def is_endpoint(device_owner: str) -> bool:
    """Tell whether ports of this device owner are plugged into a host."""
    return device_owner.startswith(ENDPOINT_OWNERS)


def migration_targets(active: Binding, inactive: tuple[Binding, ...]) -> tuple[str, ...]:
    """Return the hosts that a port may move to, sorted.

    An inactive binding without a type of interface is what is left on the host that it came from.
    """
    if not active.host:
        return ()
    hosts = {
        binding.host
        for binding in inactive
        if binding.vif_type not in (VIF_UNBOUND, VIF_BINDING_FAILED)
    }
    return tuple(sorted((hosts | {active.migrating_to}) - {"", active.host}))


def places(port: PortFacts) -> Places:
    """Return on which hosts a port has endpoints.

    None where the port or its network is administratively down. A port whose last binding
    failed keeps its endpoint: a workload that runs there is cut off by nothing but an outage
    of its host's agent while an attribute of the binding changed. While ML2 binds anew, and it
    does at every step of a migration, the workload goes on running where it is.
    """
    if not (is_endpoint(port.device_owner) and port.admin_state_up and port.network_admin_state_up):
        return Places()
    if not port.binding.host:
        return Places()
    targets = migration_targets(port.binding, port.inactive_bindings)
    unbound = port.binding.vif_type == VIF_UNBOUND
    return Places(port.binding.host, unbound and not targets, targets)


def possible_hosts(port: PortFacts) -> set[str]:
    """Return the hosts on which a port may have had endpoints with its present bindings."""
    hosts = {binding.host for binding in (port.binding, *port.inactive_bindings)}
    return (hosts | {port.binding.migrating_to}) - {""}

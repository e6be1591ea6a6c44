"""What endpoints and network sets contribute to sets, in the form in which sets keep it."""

from __future__ import annotations

from calico_openstack.datamodel.endpoints import HostEndpointPort, WorkloadEndpointPort
from calico_openstack.datamodel.protocols import protocol_number
from calico_openstack.felix.calc.ipsets import EndpointPort, Member
from calico_openstack.policy.addresses import pack_prefix


def named_ports(
    stored: tuple[WorkloadEndpointPort, ...] | tuple[HostEndpointPort, ...],
) -> tuple[EndpointPort, ...]:
    """Return the named ports of an endpoint that rules can name."""
    return tuple(
        (port.name, number, port.port)
        for port in stored
        if port.name and (number := protocol_number(port.protocol)) is not None
    )


def member(net: str) -> Member:
    """Return an entry of a network set: a single address or a network."""
    prefix = pack_prefix(net)
    return prefix.network if prefix.length == prefix.bits else prefix

"""What can be used of what is stored, where only a part of it is wrong.

To leave out one wrong network of many is safer than to do without all of them: rules may deny what
a set names as well as allow it. Upstream's readers leave out the same (specification section 1.9).
"""

from __future__ import annotations

from msgspec.structs import replace

from calico_openstack.datamodel.addresses import parse_address, parse_network
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.policies import Tier, TierSpec


def network_set(value: object) -> NetworkSet | GlobalNetworkSet | None:
    """Return a network set, without what is no network in it; None if it cannot be used."""
    if isinstance(value, NetworkSet | GlobalNetworkSet):
        return value
    if not isinstance(value, Invalid) or not _only_about(value, "spec.nets["):
        return None
    found = value.resource
    if not isinstance(found, NetworkSet | GlobalNetworkSet):
        return None
    nets = tuple(net for net in found.spec.nets if parse_network(net) is not None)
    return replace(found, spec=replace(found.spec, nets=nets))


def host_endpoint(value: object) -> HostEndpoint | None:
    """Return a host endpoint, without what is no address in it; None if it cannot be used."""
    if isinstance(value, HostEndpoint):
        return value
    if not isinstance(value, Invalid) or not _only_about(value, "spec.expectedIPs["):
        return None
    found = value.resource
    if not isinstance(found, HostEndpoint):
        return None
    expected = tuple(text for text in found.spec.expected_ips if parse_address(text) is not None)
    return replace(found, spec=replace(found.spec, expected_ips=expected))


def absence(endpoint: WorkloadEndpoint, *, source_spoofing: bool) -> str:
    """Return why a workload endpoint counts as absent; empty if it does not.

    *source_spoofing*: endpoints may name source addresses that are not their own.
    """
    spec = endpoint.spec
    if not spec.ip_networks:
        return "it has no address"
    if not spec.interface_name:
        return "it names no interface"
    if spec.allow_spoofed_source_prefixes and not source_spoofing:
        return "it may use foreign source addresses, which this host does not permit"
    return ""


def tier(value: object) -> TierSpec | None:
    """Return the body of a tier; None if there is none that can be used.

    An action that does not exist is no reason for policies to lose their place in the order: it
    counts as Deny (specification section 1.7).
    """
    if isinstance(value, Tier):
        return value.spec
    if not isinstance(value, Invalid) or not _only_about(value, "spec.defaultAction"):
        return None
    found = value.resource
    return replace(found.spec, default_action="Deny") if isinstance(found, Tier) else None


def _only_about(value: Invalid, fields: str) -> bool:
    return all(reason.field.startswith(fields) for reason in value.reasons)

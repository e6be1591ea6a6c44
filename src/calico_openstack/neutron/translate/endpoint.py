"""A port becomes a workload endpoint on the host to which it is bound."""

from __future__ import annotations

import re
from dataclasses import dataclass

from calico_openstack.datamodel.addresses import parse_address, parse_network
from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import workload_endpoint_name
from calico_openstack.datamodel.policies import DEFAULT_ALLOW_PROFILE_NAME
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.neutron.translate.facts import VIF_UNBOUND, FixedIp, PortFacts, Problem
from calico_openstack.neutron.translate.labels import (
    ORCHESTRATOR,
    endpoint_annotations,
    endpoint_labels,
)

# Device owners of ports that a hypervisor or container host plugs as a TAP device. All other
# ports (routers, DHCP, trunk subports, load balancers) exist in Neutron only.
ENDPOINT_OWNERS = ("compute:", "kuryr:container")

INTERFACE_PREFIX = "tap"
# A Linux interface name has at most 15 characters; Nova cuts the port's id like this.
_INTERFACE_ID_LENGTH = 11

_NAME_PART = re.compile(r"[A-Za-z0-9_.](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True)
class TranslatedPort:
    """The endpoints that a port must have, and what could not be honoured."""

    endpoints: tuple[WorkloadEndpoint, ...] = ()
    problems: tuple[Problem, ...] = ()


def is_endpoint(device_owner: str) -> bool:
    """Tell whether ports of this device owner are plugged into a host."""
    return device_owner.startswith(ENDPOINT_OWNERS)


def interface_name(port_id: str) -> str:
    """Return the name of the TAP device of a port."""
    return INTERFACE_PREFIX + port_id[:_INTERFACE_ID_LENGTH]


def endpoint_hosts(port: PortFacts) -> tuple[str, ...]:
    """Return the hosts on which a port has an endpoint now.

    None where the port or its network is administratively down. A port whose last binding
    failed keeps its endpoint: a workload that runs there is cut off by nothing but an outage
    of its host's agent while an attribute of the binding changed.
    """
    if not (is_endpoint(port.device_owner) and port.admin_state_up and port.network_admin_state_up):
        return ()
    if not port.binding.host or port.binding.vif_type == VIF_UNBOUND:
        return ()
    return (port.binding.host,)


def endpoint_name(host: str, device_id: str, port_id: str) -> str | None:
    """Return the name of an endpoint, None where its parts cannot form one.

    Users choose device ids freely; readers take a name apart and refuse one with other
    characters, which would leave the endpoint unknown under a key that nobody looks for.
    """
    if not (_NAME_PART.fullmatch(host) and _NAME_PART.fullmatch(device_id)):
        return None
    return workload_endpoint_name(host, ORCHESTRATOR, device_id, port_id)


def translate_port(port: PortFacts, namespace: str) -> TranslatedPort:
    """Translate a port."""
    hosts = endpoint_hosts(port)
    if not hosts:
        return TranslatedPort()
    problems: list[Problem] = []
    endpoints = []
    addresses = _addresses(port, problems)
    for host in hosts:
        name = endpoint_name(host, port.device_id, port.id)
        if name is None:
            reason = f"host {host!r} and device {port.device_id!r} cannot name an endpoint"
            problems.append(Problem(f"port {port.id}", "device_id", reason))
            continue
        endpoints.append(_endpoint(port, host, namespace, name, addresses))
    return TranslatedPort(tuple(endpoints), tuple(problems))


@dataclass(frozen=True, slots=True)
class _Addresses:
    """``own`` are the fixed IPs, ``paired`` further addresses, ``sources`` prefixes to send from.

    Single addresses carry their full prefix length.
    """

    own: tuple[str, ...]
    paired: tuple[str, ...]
    sources: tuple[str, ...]


def _endpoint(
    port: PortFacts, host: str, namespace: str, name: str, addresses: _Addresses
) -> WorkloadEndpoint:
    gateways = _gateways(port.fixed_ips)
    return WorkloadEndpoint(
        metadata=Metadata(
            name=name,
            namespace=namespace,
            labels=endpoint_labels(port, namespace),
            annotations=endpoint_annotations(port),
        ),
        spec=WorkloadEndpointSpec(
            orchestrator=ORCHESTRATOR,
            workload=port.device_id,
            node=host,
            endpoint=port.id,
            interface_name=interface_name(port.id),
            mac=port.mac,
            ipv4_gateway=gateways.get(4, ""),
            ipv6_gateway=gateways.get(6, ""),
            ip_networks=addresses.own + addresses.paired,
            allowed_ips=addresses.paired,
            allow_spoofed_source_prefixes=addresses.sources,
            # Without port security no group may apply; without a profile everything is denied.
            profiles=() if port.port_security_enabled else (DEFAULT_ALLOW_PROFILE_NAME,),
        ),
    )


def _gateways(fixed_ips: tuple[FixedIp, ...]) -> dict[int, str]:
    """Return the gateway by IP version; of several the last one, as fixed IPs are ordered."""
    result: dict[int, str] = {}
    for ip in _ordered(fixed_ips):
        gateway = parse_address(ip.gateway) if ip.gateway else None
        if gateway is not None:
            result[gateway.version] = str(gateway)
    return result


def _ordered(fixed_ips: tuple[FixedIp, ...]) -> list[FixedIp]:
    """Return fixed IPs in the order in which Neutron itself lists them."""
    return sorted(fixed_ips, key=lambda ip: (ip.address, ip.subnet_id))


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _addresses(port: PortFacts, problems: list[Problem]) -> _Addresses:
    """Sort out a port's addresses.

    A pair that repeats a fixed IP (with another MAC address) adds nothing on a routed network,
    and listing it would make the DHCP agent take the fixed IP for a paired one. A pair with a
    prefix is no set of addresses that the host could answer and route for, because many ports
    are given the same prefix: the port may send from it, where Felix's configuration allows
    that at all (WorkloadSourceSpoofing), and receives for its single addresses.
    """
    own = []
    for ip in _ordered(port.fixed_ips):
        if parse_address(ip.address) is None:
            # Such as ::ffff:192.0.2.1, which is another notation of an IPv4 address.
            reason = f"{ip.address!r} is no address that can be routed"
            problems.append(Problem(f"port {port.id}", "fixed_ips", reason))
        else:
            own.append(_single(ip.address))
    paired: set[str] = set()
    sources: set[str] = set()
    for pair in port.address_pairs:
        network = parse_network(pair.address)
        if network is None:
            reason = f"{pair.address!r} is neither an address nor a prefix"
            problems.append(Problem(f"port {port.id}", "allowed_address_pairs", reason))
            continue
        if network.prefixlen == network.max_prefixlen:
            paired.add(_single(str(network.network_address)))
        else:
            sources.add(str(network))
    return _Addresses(tuple(own), tuple(sorted(paired.difference(own))), tuple(sorted(sources)))

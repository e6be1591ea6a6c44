"""A port becomes a workload endpoint on each host that it is at or may move to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from calico_openstack.datamodel.addresses import parse_address, parse_network
from calico_openstack.datamodel.endpoints import (
    IpNat,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.keys import workload_endpoint_name
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.policies import DEFAULT_ALLOW_PROFILE_NAME
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.neutron.translate.facts import FixedIp, PortFacts, Problem
from calico_openstack.neutron.translate.labels import (
    ORCHESTRATOR,
    endpoint_annotations,
    endpoint_labels,
)
from calico_openstack.neutron.translate.migration import translate_migration
from calico_openstack.neutron.translate.places import places
from calico_openstack.neutron.translate.qos import NO_LIMITS, Limits, qos_controls, qos_problems

INTERFACE_PREFIX = "tap"
# A Linux interface name has at most 15 characters; Nova cuts the port's id like this.
_INTERFACE_ID_LENGTH = 11

_NAME_PART = re.compile(r"[A-Za-z0-9_.](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True)
class TranslatedPort:
    """The endpoints that a port must have, and what could not be honoured.

    ``rebinding`` tells that an endpoint at the port's host is not to be made, only kept; see
    `Places`.
    """

    endpoints: tuple[WorkloadEndpoint, ...] = ()
    migrations: tuple[LiveMigration, ...] = ()
    rebinding: bool = False
    problems: tuple[Problem, ...] = ()


def interface_name(port_id: str) -> str:
    """Return the name of the TAP device of a port."""
    return INTERFACE_PREFIX + port_id[:_INTERFACE_ID_LENGTH]


def endpoint_name(host: str, device_id: str, port_id: str) -> str | None:
    """Return the name of an endpoint, None where its parts cannot form one.

    Users choose device ids freely; readers take a name apart and refuse one with other
    characters, which would leave the endpoint unknown under a key that nobody looks for.
    """
    if not (_NAME_PART.fullmatch(host) and _NAME_PART.fullmatch(device_id)):
        return None
    return workload_endpoint_name(host, ORCHESTRATOR, device_id, port_id)


def translate_port(port: PortFacts, namespace: str, limits: Limits = NO_LIMITS) -> TranslatedPort:
    """Translate a port."""
    where = places(port)
    if not where.host:
        return TranslatedPort()
    problems = qos_problems(port.id, port.qos)
    endpoints = []
    parts = _parts(port, limits, problems)
    for host in (where.host, *where.targets):
        name = endpoint_name(host, port.device_id, port.id)
        if name is None:
            reason = f"host {host!r} and device {port.device_id!r} cannot name an endpoint"
            problems.append(Problem(f"port {port.id}", "device_id", reason))
            continue
        endpoints.append(_endpoint(port, host, namespace, name, parts))
    migrations = (
        translate_migration(where.host, endpoint)
        for endpoint in endpoints
        if endpoint.spec.node != where.host
    )
    return TranslatedPort(tuple(endpoints), tuple(migrations), where.rebinding, tuple(problems))


@dataclass(frozen=True, slots=True)
class _Parts:
    """``own`` are the fixed IPs, ``paired`` further addresses, ``sources`` prefixes to send from.

    Single addresses carry their full prefix length. ``nats`` are the floating IPs. All of it is
    the same on every host.
    """

    own: tuple[str, ...]
    paired: tuple[str, ...]
    sources: tuple[str, ...]
    nats: tuple[IpNat, ...]
    qos: QosControls | None


def _endpoint(
    port: PortFacts, host: str, namespace: str, name: str, parts: _Parts
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
            ip_networks=parts.own + parts.paired,
            allowed_ips=parts.paired,
            ip_nats=parts.nats,
            qos_controls=parts.qos,
            allow_spoofed_source_prefixes=parts.sources,
            # Without port security no group may apply; without a profile everything is denied.
            profiles=() if port.port_security_enabled else (DEFAULT_ALLOW_PROFILE_NAME,),
        ),
    )


def _nats(port: PortFacts, problems: list[Problem]) -> tuple[IpNat, ...]:
    """Return the translations of a port's floating IPs, in the order of the floating IPs."""
    own = {ip.address for ip in port.fixed_ips}
    result = []
    for ip in sorted(port.floating_ips, key=lambda ip: (ip.external, ip.internal)):
        if ip.internal in own and parse_address(ip.external) is not None:
            result.append(IpNat(internal_ip=ip.internal, external_ip=ip.external))
        else:
            reason = f"{ip.external} cannot lead to {ip.internal}, which is not the port's"
            problems.append(Problem(f"port {port.id}", "floating_ips", reason))
    return tuple(result)


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


def _parts(port: PortFacts, limits: Limits, problems: list[Problem]) -> _Parts:
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
    return _Parts(
        tuple(own),
        tuple(sorted(paired.difference(own))),
        tuple(sorted(sources)),
        _nats(port, problems),
        qos_controls(port.qos, limits),
    )

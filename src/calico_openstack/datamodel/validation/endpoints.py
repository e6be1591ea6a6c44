"""Checks of endpoints, network sets and live migrations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from calico_openstack.datamodel.addresses import is_host_network, parse_address
from calico_openstack.datamodel.conventions import NAMESPACE_LABEL
from calico_openstack.datamodel.dscp import DSCP_ANNOTATION, dscp_value
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    HostEndpointPort,
    IpNat,
    NetworkSet,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointPort,
    WorkloadEndpointSpec,
    is_mac,
)
from calico_openstack.datamodel.keys import parse_workload_endpoint_name
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.ports import MAX_PORT
from calico_openstack.datamodel.protocols import PORT_PROTOCOLS, protocol_number
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import (
    IDENTIFIER,
    INTERFACE,
    check_address,
    check_name,
    check_network,
    check_networks,
    check_selector,
    check_service_name,
)

_ENDPOINT_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{7,1024}")

# Kubernetes and its relatives name workload endpoints after other members than ``workload``.
_OTHERWISE_NAMED: Final = frozenset({"k8s", "cni", "libnetwork"})

# Bounds of the members of ``qosControls`` without their direction; 0 is always "no limit".
_QOS_BOUNDS: Final = {
    "Bandwidth": (1000, 10**15),
    "Burst": (1000, 34359738360),
    "Peakrate": (1010, 1010 * 10**12),
    "Minburst": (1000, 10**8),
    "PacketRate": (1, 10000),
    "PacketBurst": (1, 10000),
    "MaxConnections": (1, 4294967295),
}
_QOS_MEMBERS: Final = tuple(
    (f"{direction}{name}", f"{direction}_{attribute}", *_QOS_BOUNDS[name])
    for direction in ("ingress", "egress")
    for name, attribute in (
        ("Bandwidth", "bandwidth"),
        ("Burst", "burst"),
        ("Peakrate", "peakrate"),
        ("Minburst", "minburst"),
        ("PacketRate", "packet_rate"),
        ("PacketBurst", "packet_burst"),
        ("MaxConnections", "max_connections"),
    )
)


def check_workload_endpoint(findings: Findings, endpoint: WorkloadEndpoint) -> None:
    """Check a workload endpoint."""
    spec = endpoint.spec
    _check_endpoint_name(findings, endpoint.metadata.name, spec)
    if not INTERFACE.fullmatch(spec.interface_name):
        findings.reject("spec.interfaceName", spec.interface_name, "the name of an interface")
    if spec.mac and not is_mac(spec.mac):
        findings.reject("spec.mac", spec.mac, "a MAC address")
    for index, text in enumerate(spec.ip_networks):
        if not is_host_network(text):
            findings.reject(f"spec.ipNetworks[{index}]", text, "one address (/32 or /128)")
    check_address(findings, "spec.ipv4Gateway", spec.ipv4_gateway, version=4)
    check_address(findings, "spec.ipv6Gateway", spec.ipv6_gateway, version=6)
    # What follows is rare; most endpoints have none of it.
    if spec.allowed_ips:
        for index, text in enumerate(spec.allowed_ips):
            if not is_host_network(text):
                findings.reject(f"spec.allowedIps[{index}]", text, "one address (/32 or /128)")
    if spec.ip_nats:
        _check_nats(findings, spec.ip_nats, spec.ip_networks)
    if spec.qos_controls is not None:
        _check_qos(findings, spec.qos_controls)
    if spec.profiles:
        _check_profiles(findings, spec.profiles)
    if spec.ports:
        _check_workload_ports(findings, spec.ports)
    if spec.allow_spoofed_source_prefixes:
        prefixes = spec.allow_spoofed_source_prefixes
        check_networks(findings, "spec.allowSpoofedSourcePrefixes", prefixes)


def _check_endpoint_name(findings: Findings, name: str, spec: WorkloadEndpointSpec) -> None:
    """Check that the name can be taken apart and says what the spec says."""
    parts = parse_workload_endpoint_name(name)
    if parts is None or not _ENDPOINT_NAME.fullmatch(name) or max(map(len, parts)) > 128:
        wanted = "<node>-<orchestrator>-<workload>-<endpoint> with doubled dashes inside the parts"
        findings.reject("metadata.name", name, wanted)
        return
    node, orchestrator, workload, endpoint = parts
    # Which host an endpoint is on must not depend on where one looks.
    if spec.node != node:
        findings.add("spec.node", "differs from the name")
    if spec.orchestrator != orchestrator:
        findings.add("spec.orchestrator", "differs from the name")
    if spec.endpoint != endpoint:
        findings.add("spec.endpoint", "differs from the name")
    if spec.workload != workload and orchestrator not in _OTHERWISE_NAMED:
        findings.add("spec.workload", "differs from the name")


def _check_nats(findings: Findings, nats: Sequence[IpNat], networks: Sequence[str]) -> None:
    own = {parse_address(text.partition("/")[0]) for text in networks}
    for index, nat in enumerate(nats):
        field = f"spec.ipNATs[{index}]"
        internal, external = parse_address(nat.internal_ip), parse_address(nat.external_ip)
        if internal is None or external is None or internal.version != external.version:
            findings.add(field, "is not a pair of addresses of one family")
        elif internal not in own:
            findings.add(f"{field}.internalIP", "is none of the endpoint's addresses")


def _check_qos(findings: Findings, qos: QosControls) -> None:
    for name, attribute, low, high in _QOS_MEMBERS:
        value = getattr(qos, attribute)
        if value:
            findings.require_within(f"spec.qosControls.{name}", value, low, high)
    if qos.dscp is not None and dscp_value(qos.dscp) is None:
        findings.reject("spec.qosControls.dscp", qos.dscp, "0 to 63 or the name of a code point")


def _check_profiles(findings: Findings, profiles: Sequence[str]) -> None:
    for index, profile in enumerate(profiles):
        check_name(findings, f"spec.profiles[{index}]", profile)


def _check_workload_ports(findings: Findings, ports: Sequence[WorkloadEndpointPort]) -> None:
    for index, port in enumerate(ports):
        _check_port(findings, f"spec.ports[{index}]", port, named=port.host_port == 0)
        findings.require_within(f"spec.ports[{index}].hostPort", port.host_port, 0, MAX_PORT)
        check_address(findings, f"spec.ports[{index}].hostIP", port.host_ip)


def _check_port(
    findings: Findings, field: str, port: WorkloadEndpointPort | HostEndpointPort, *, named: bool
) -> None:
    if named or port.name:
        check_service_name(findings, f"{field}.name", port.name)
    if protocol_number(port.protocol) not in PORT_PROTOCOLS:
        findings.reject(f"{field}.protocol", port.protocol, "TCP, UDP or SCTP")
    findings.require_within(f"{field}.port", port.port, 1, MAX_PORT)


def check_host_endpoint(findings: Findings, endpoint: HostEndpoint) -> None:
    """Check a host endpoint."""
    spec = endpoint.spec
    if not IDENTIFIER.fullmatch(spec.node):
        findings.reject("spec.node", spec.node, "the name of a host")
    interface = spec.interface_name
    if interface not in ("", "*") and not INTERFACE.fullmatch(interface):
        findings.reject("spec.interfaceName", interface, "the name of an interface or '*'")
    if not interface and not spec.expected_ips:
        findings.add("spec", "has neither interfaceName nor expectedIPs")
    for index, text in enumerate(spec.expected_ips):
        if parse_address(text) is None:
            findings.reject(f"spec.expectedIPs[{index}]", text, "an IP address")
    _check_profiles(findings, spec.profiles)
    for index, port in enumerate(spec.ports):
        _check_port(findings, f"spec.ports[{index}]", port, named=True)


def check_host_annotations(findings: Findings, annotations: Mapping[str, str]) -> None:
    """Check those annotations of a host endpoint that mean something."""
    text = annotations.get(DSCP_ANNOTATION)
    if text is not None and dscp_value(text) is None:
        field = f"metadata.annotations[{DSCP_ANNOTATION}]"
        findings.reject(field, text, "0 to 63 or the name of a code point")


def check_network_set(findings: Findings, networks: NetworkSet | GlobalNetworkSet) -> None:
    """Check a set of networks."""
    metadata = networks.metadata
    # Readers add this label: what a policy takes for the namespace is nobody's to claim.
    if NAMESPACE_LABEL in metadata.labels:
        findings.add("metadata.labels", f"may not have {NAMESPACE_LABEL}")
    for index, text in enumerate(networks.spec.nets):
        if findings.full:
            return
        check_network(findings, f"spec.nets[{index}]", text)


def check_live_migration(findings: Findings, migration: LiveMigration) -> None:
    """Check a live migration."""
    source, target = migration.spec.source, migration.spec.target
    if source is None or (source.workload is None) == (source.workload_endpoint is None):
        findings.add("spec.source", "needs exactly one of workload and workloadEndpoint")
    if target is None or (target.selector is None) == (target.workload_endpoint is None):
        findings.add("spec.target", "needs exactly one of selector and workloadEndpoint")
    elif target.selector is not None:
        check_selector(findings, "spec.target.selector", target.selector)

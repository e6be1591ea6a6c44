"""Checks of BGP configuration, peers and filters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from calico_openstack.datamodel.addresses import Address, parse_address
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.bgp import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPFilter,
    BGPFilterOperation,
    BGPFilterRule,
    BGPPeer,
    BGPPeerSpec,
)
from calico_openstack.datamodel.configuration import GLOBAL_CONFIGURATION_NAME
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.ports import MAX_PORT
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import (
    INTERFACE_PATTERN,
    check_address,
    check_name,
    check_network,
    check_selector,
)

MAX_PRIORITY: Final = 2147483646
_MAX_COMMUNITIES: Final = 500
_MAX_ADVERTISEMENTS: Final = 500
_MAX_COMMUNITIES_OF_ADVERTISEMENT: Final = 50
_MAX_NODE_NAME: Final = 253
_MAX_PEER_IP: Final = 64
_MAX_OPERATIONS: Final = 10
_MAX_AS_PATH: Final = 10

_LOG_LEVELS: Final = frozenset({"", "trace", "debug", "info", "warning", "error", "fatal"})
_PROGRAM_CLUSTER_ROUTES: Final = frozenset(
    {"Disabled", "Enabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"}
)
_STANDARD_COMMUNITY: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")
_LARGE_COMMUNITY: Final = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})")
_PEER: Final = re.compile(
    r"\[(?P<v6>[^\]]*)\]:(?P<v6port>[0-9]{1,5})|(?P<v4>[^:]*):(?P<v4port>[0-9]{1,5})"
)


def is_community(text: str) -> bool:
    """Tell whether a text is a community: ``aa:nn``, or ``aa:nn:mm`` for a large one."""
    if match := _STANDARD_COMMUNITY.fullmatch(text):
        return all(int(part) <= 0xFFFF for part in match.groups())
    if match := _LARGE_COMMUNITY.fullmatch(text):
        return all(int(part) <= 0xFFFFFFFF for part in match.groups())
    return False


def parse_peer_ip(text: str) -> tuple[Address, int | None] | None:
    """Return address and port (None if it names none) of a ``peerIP``, None if it is none."""
    if match := _PEER.fullmatch(text):
        address = parse_address(match["v6"] or match["v4"] or "")
        port = int(match["v6port"] or match["v4port"])
        bracketed = match["v6"] is not None
        if address is None or (address.version == 6) != bracketed or not 0 < port <= MAX_PORT:
            return None
        return address, port
    address = parse_address(text)
    return None if address is None else (address, None)


def check_bgp_configuration(findings: Findings, configuration: BGPConfiguration) -> None:
    """Check a BGP configuration."""
    spec = configuration.spec
    if configuration.metadata.name != GLOBAL_CONFIGURATION_NAME:
        _check_host_configuration(findings, spec)
    if spec.log_severity_screen.lower() not in _LOG_LEVELS:
        findings.reject("spec.logSeverityScreen", spec.log_severity_screen, "a log level")
    if spec.as_number is not None:
        _check_as_number(findings, "spec.asNumber", spec.as_number)
    for field, blocks in (
        ("serviceClusterIPs", spec.service_cluster_ips),
        ("serviceExternalIPs", spec.service_external_ips),
        ("serviceLoadBalancerIPs", spec.service_load_balancer_ips),
    ):
        for index, block in enumerate(blocks):
            check_network(findings, f"spec.{field}[{index}].cidr", block.cidr)
    _check_communities(findings, spec)
    if spec.listen_port:
        findings.require_within("spec.listenPort", spec.listen_port, 1, MAX_PORT)
    if spec.node_mesh_max_restart_time is not None:
        _check_duration(findings, "spec.nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time)
    if spec.node_to_node_mesh_enabled is False and (
        spec.node_mesh_password is not None or spec.node_mesh_max_restart_time is not None
    ):
        findings.add("spec.nodeToNodeMeshEnabled", "is false, but settings of the mesh are given")
    findings.require_one_of("spec.bindMode", spec.bind_mode or "", ("", "None", "NodeIP"))
    for index, pattern in enumerate(spec.ignored_interfaces):
        if pattern == "*" or not INTERFACE_PATTERN.fullmatch(pattern):
            findings.reject(f"spec.ignoredInterfaces[{index}]", pattern, "a pattern of interfaces")
    check_address(
        findings, "spec.localWorkloadPeeringIPV4", spec.local_workload_peering_ipv4, version=4
    )
    check_address(
        findings, "spec.localWorkloadPeeringIPV6", spec.local_workload_peering_ipv6, version=6
    )
    if spec.program_cluster_routes is not None:
        routes = spec.program_cluster_routes
        findings.require_one_of("spec.programClusterRoutes", routes, _PROGRAM_CLUSTER_ROUTES)
    for version, priority in (
        (4, spec.ipv4_normal_route_priority),
        (6, spec.ipv6_normal_route_priority),
    ):
        findings.require_within(f"spec.ipv{version}NormalRoutePriority", priority, 1, MAX_PRIORITY)


def _check_host_configuration(findings: Findings, spec: BGPConfigurationSpec) -> None:
    """Check that a configuration other than ``default`` sets nothing of the whole cluster."""
    for field, value in (
        ("nodeToNodeMeshEnabled", spec.node_to_node_mesh_enabled),
        ("asNumber", spec.as_number),
        ("serviceClusterIPs", spec.service_cluster_ips or None),
        ("serviceExternalIPs", spec.service_external_ips or None),
        ("serviceLoadBalancerIPs", spec.service_load_balancer_ips or None),
        ("nodeMeshPassword", spec.node_mesh_password),
        ("nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time),
    ):
        if value is not None:
            findings.add(f"spec.{field}", "Cannot set it anywhere but in 'default'")


def _check_communities(findings: Findings, spec: BGPConfigurationSpec) -> None:
    findings.require_at_most("spec.communities", spec.communities, _MAX_COMMUNITIES)
    advertised = spec.prefix_advertisements
    findings.require_at_most("spec.prefixAdvertisements", advertised, _MAX_ADVERTISEMENTS)
    for index, community in enumerate(spec.communities[:_MAX_COMMUNITIES]):
        field = f"spec.communities[{index}]"
        check_name(findings, f"{field}.name", community.name)
        if not is_community(community.value):
            findings.reject(f"{field}.value", community.value, "a community (aa:nn or aa:nn:mm)")
    if spec.communities and not advertised:
        findings.add("spec.communities", "are defined, but prefixAdvertisements is empty")
    names = {community.name for community in spec.communities}
    for index, advertisement in enumerate(advertised[:_MAX_ADVERTISEMENTS]):
        field = f"spec.prefixAdvertisements[{index}]"
        check_network(findings, f"{field}.cidr", advertisement.cidr)
        used = advertisement.communities
        if not used:
            findings.add(f"{field}.communities", "is empty")
        findings.require_at_most(f"{field}.communities", used, _MAX_COMMUNITIES_OF_ADVERTISEMENT)
        for text in used[:_MAX_COMMUNITIES_OF_ADVERTISEMENT]:
            if text not in names and not is_community(text):
                findings.reject(f"{field}.communities", text, "a community nor the name of one")


def check_bgp_peer(findings: Findings, peer: BGPPeer) -> None:
    """Check a BGP peer."""
    spec = peer.spec
    _check_exclusions(findings, spec)
    if len(spec.node) > _MAX_NODE_NAME:
        findings.reject("spec.node", spec.node, "the name of a node")
    for field, selector in (
        ("nodeSelector", spec.node_selector),
        ("peerSelector", spec.peer_selector),
        ("localWorkloadSelector", spec.local_workload_selector),
    ):
        check_selector(findings, f"spec.{field}", selector)
    endpoint = parse_peer_ip(spec.peer_ip) if len(spec.peer_ip) <= _MAX_PEER_IP else None
    if spec.peer_ip and endpoint is None:
        findings.reject("spec.peerIP", spec.peer_ip, "an address, v4:port or [v6]:port")
    for field, number in (("asNumber", spec.as_number), ("localASNumber", spec.local_as_number)):
        if number is not None:
            _check_as_number(findings, f"spec.{field}", number)
    findings.require_one_of(
        "spec.nextHopMode", spec.next_hop_mode or "", ("", "Auto", "Self", "Keep")
    )
    findings.require_one_of("spec.sourceAddress", spec.source_address, ("", "UseNodeIP", "None"))
    findings.require_one_of(
        "spec.reversePeering", spec.reverse_peering or "", ("", "Auto", "Manual")
    )
    for field, duration in (
        ("maxRestartTime", spec.max_restart_time),
        ("keepaliveTime", spec.keepalive_time),
    ):
        if duration is not None:
            _check_duration(findings, f"spec.{field}", duration)
    findings.require_within(
        "spec.numAllowedLocalASNumbers", spec.num_allowed_local_as_numbers, 0, 2**31 - 1
    )
    findings.require_within("spec.ttlSecurity", spec.ttl_security, 0, 255)
    if spec.reachable_by:
        version = endpoint[0].version if endpoint else None
        check_address(findings, "spec.reachableBy", spec.reachable_by, version=version)
    for name in spec.filters:
        check_name(findings, "spec.filters", name)


def _check_exclusions(findings: Findings, spec: BGPPeerSpec) -> None:
    """Check which members of a peer may stand together."""
    if spec.node and spec.node_selector:
        findings.add("spec.node", "cannot be together with nodeSelector")
    if spec.peer_ip and spec.peer_selector:
        findings.add("spec.peerIP", "cannot be together with peerSelector")
    if spec.as_number and spec.peer_selector:
        findings.add("spec.asNumber", "must be empty with peerSelector")
    if spec.local_workload_selector:
        if spec.peer_ip or spec.peer_selector:
            where = "spec.localWorkloadSelector"
            findings.add(where, "cannot be together with peerIP or peerSelector")
        if not spec.as_number:
            findings.add("spec.asNumber", "is needed with localWorkloadSelector")
    if spec.reachable_by and not spec.peer_ip:
        findings.add("spec.reachableBy", "needs peerIP")
    if spec.keep_original_next_hop and spec.next_hop_mode:
        findings.add("spec.keepOriginalNextHop", "cannot be together with nextHopMode")


def check_bgp_filter(findings: Findings, bgp_filter: BGPFilter) -> None:
    """Check a BGP filter."""
    spec = bgp_filter.spec
    for field, rules, version in (
        ("exportV4", spec.export_v4, 4),
        ("importV4", spec.import_v4, 4),
        ("exportV6", spec.export_v6, 6),
        ("importV6", spec.import_v6, 6),
    ):
        for index, rule in enumerate(rules):
            if findings.full:
                return
            _check_filter_rule(findings, f"spec.{field}[{index}]", rule, version)


def _check_filter_rule(findings: Findings, field: str, rule: BGPFilterRule, version: int) -> None:
    findings.require_one_of(f"{field}.action", rule.action, ("Accept", "Reject"))
    findings.require_one_of(f"{field}.source", rule.source, ("", "RemotePeers"))
    findings.require_one_of(f"{field}.peerType", rule.peer_type, ("", "eBGP", "iBGP"))
    operators = ("", "Equal", "NotEqual", "In", "NotIn")
    findings.require_one_of(f"{field}.matchOperator", rule.match_operator, operators)
    if bool(rule.cidr) != bool(rule.match_operator):
        findings.add(field, "needs both cidr and matchOperator or neither")
    if rule.cidr:
        check_network(findings, f"{field}.cidr", rule.cidr, version=version)
    if rule.prefix_length is not None:
        longest = 32 if version == 4 else 128
        findings.require_within(f"{field}.prefixLength.min", rule.prefix_length.min, 0, longest)
        findings.require_within(f"{field}.prefixLength.max", rule.prefix_length.max, 0, longest)
        if not rule.cidr:
            findings.add(f"{field}.prefixLength", "needs cidr")
    if rule.interface and not INTERFACE_PATTERN.fullmatch(rule.interface):
        findings.reject(f"{field}.interface", rule.interface, "a pattern of interfaces")
    if rule.communities is not None:
        values = rule.communities.values
        if len(values) != 1 or not is_community(values[0]):
            findings.add(f"{field}.communities.values", "is not exactly one community")
    _check_as_path(findings, f"{field}.asPathPrefix", rule.as_path_prefix)
    findings.require_within(f"{field}.priority", rule.priority, 1, MAX_PRIORITY)
    if rule.operations and rule.action != "Accept":
        findings.add(f"{field}.operations", "need the action Accept")
    findings.require_at_most(f"{field}.operations", rule.operations, _MAX_OPERATIONS)
    for index, operation in enumerate(rule.operations[:_MAX_OPERATIONS]):
        _check_operation(findings, f"{field}.operations[{index}]", operation)


def _check_operation(findings: Findings, field: str, operation: BGPFilterOperation) -> None:
    add, prepend, priority = (
        operation.add_community,
        operation.prepend_as_path,
        operation.set_priority,
    )
    if [add, prepend, priority].count(None) != 2:
        findings.add(field, "needs exactly one of addCommunity, prependASPath and setPriority")
    if add is not None and not is_community(add.value):
        findings.reject(f"{field}.addCommunity.value", add.value, "a community")
    if prepend is not None:
        where = f"{field}.prependASPath.prefix"
        if not 1 <= len(prepend.prefix) <= _MAX_AS_PATH:
            findings.add(where, f"has {len(prepend.prefix)} elements; 1 to {_MAX_AS_PATH} may be")
        _check_as_path(findings, where, prepend.prefix[:_MAX_AS_PATH])
    if priority is not None:
        if priority.value is None:
            findings.add(f"{field}.setPriority.value", "is missing")
        findings.require_within(f"{field}.setPriority.value", priority.value, 1, MAX_PRIORITY)


def _check_as_path(findings: Findings, field: str, numbers: Iterable[int | str]) -> None:
    for index, number in enumerate(numbers):
        if findings.full:
            return
        _check_as_number(findings, f"{field}[{index}]", number)


def _check_as_number(findings: Findings, field: str, number: int | str) -> None:
    if as_number(number) is None:
        findings.reject(field, number, "an AS number (0 to 4294967295, or hi.lo)")


def _check_duration(findings: Findings, field: str, text: str) -> None:
    seconds = parse_duration(text)
    if seconds is None or seconds < 0:
        findings.reject(field, text, "a duration such as 1m30s")

"""What a stored object must satisfy before anything acts on it.

``validate`` returns the reasons against an object, each with the field in the notation of JSON;
it never raises. The limits are those that upstream's readers apply: what they would refuse is
refused here, so that a cluster of both kinds of agent sees the same objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from calico_openstack.datamodel.bgp import BGPConfiguration, BGPFilter, BGPPeer
from calico_openstack.datamodel.configuration import ClusterInformation, FelixConfiguration
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.invalid import Reason
from calico_openstack.datamodel.kept import (
    CalicoNodeStatus,
    IPReservation,
    KubeControllersConfiguration,
    StagedKubernetesNetworkPolicy,
)
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.datamodel.validation import bgp, cluster, endpoints, kept, plain, policies
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import (
    IDENTIFIER,
    check_annotations,
    check_labels,
    check_name,
)

__all__ = ["remarks", "validate"]

Validated = Resource | DhcpSubnet | AgentStatus | EndpointStatus

_CHECKS: Final[dict[type, Callable[[Findings, Any], None]]] = {
    WorkloadEndpoint: endpoints.check_workload_endpoint,
    HostEndpoint: endpoints.check_host_endpoint,
    NetworkPolicy: policies.check_network_policy,
    GlobalNetworkPolicy: policies.check_global_network_policy,
    StagedNetworkPolicy: policies.check_staged_policy,
    StagedGlobalNetworkPolicy: policies.check_staged_policy,
    Tier: policies.check_tier,
    Profile: policies.check_profile,
    NetworkSet: endpoints.check_network_set,
    GlobalNetworkSet: endpoints.check_network_set,
    LiveMigration: endpoints.check_live_migration,
    IPPool: cluster.check_ip_pool,
    Node: cluster.check_node,
    BGPConfiguration: bgp.check_bgp_configuration,
    BGPPeer: bgp.check_bgp_peer,
    BGPFilter: bgp.check_bgp_filter,
    FelixConfiguration: cluster.check_felix_configuration,
    ClusterInformation: cluster.check_cluster_information,
    CalicoNodeStatus: kept.check_node_status,
    IPReservation: kept.check_ip_reservation,
    KubeControllersConfiguration: kept.check_nothing,
    StagedKubernetesNetworkPolicy: kept.check_nothing,
    DhcpSubnet: plain.check_subnet,
    AgentStatus: plain.check_agent_status,
    EndpointStatus: plain.check_endpoint_status,
}


def validate(value: Validated) -> tuple[Reason, ...]:
    """Return what is wrong with a value: nothing for one that can be acted on."""
    findings = Findings()
    if isinstance(value, Resource):
        _check_metadata(findings, value)
    _CHECKS[type(value)](findings, value)
    return tuple(findings.reasons)


def remarks(resource: Resource) -> tuple[Reason, ...]:
    """Return what is wrong with a valid resource and is ignored, because the rest can be used."""
    findings = Findings()
    if isinstance(resource, HostEndpoint):
        endpoints.check_host_annotations(findings, resource.metadata.annotations)
    elif isinstance(resource, IPPool):
        cluster.note_encapsulation(findings, resource)
    return tuple(findings.reasons)


def _check_metadata(findings: Findings, resource: Resource) -> None:
    metadata: Metadata = resource.metadata
    # The name of a workload endpoint is checked part by part.
    if not isinstance(resource, WorkloadEndpoint):
        check_name(findings, "metadata.name", metadata.name)
    if resource.NAMESPACED and not IDENTIFIER.fullmatch(metadata.namespace):
        findings.reject("metadata.namespace", metadata.namespace, "a namespace")
    timestamp = metadata.creation_timestamp
    if timestamp is not None and not plain.TIMESTAMP.fullmatch(timestamp):
        findings.reject("metadata.creationTimestamp", timestamp, "an RFC 3339 time")
    if metadata.labels:
        check_labels(findings, "metadata.labels", metadata.labels)
    if metadata.annotations:
        check_annotations(findings, "metadata.annotations", metadata.annotations)

"""What is stored in etcd: typed resources, keys, codec and validation. Pure.

``decode`` turns a key and its bytes into a typed value, into ``Invalid`` with the reasons, or
into None for what is not for us; it never raises. ``encode`` is its inverse. ``keys`` builds and
parses the keys, ``selector`` holds the selector language.
"""

from calico_openstack.datamodel.bgp import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPFilter,
    BGPFilterRule,
    BGPFilterSpec,
    BGPPeer,
    BGPPeerSpec,
    PrefixAdvertisement,
)
from calico_openstack.datamodel.codec import Value, decode, decode_at, encode
from calico_openstack.datamodel.configuration import (
    ClusterInformation,
    ClusterInformationSpec,
    FelixConfiguration,
)
from calico_openstack.datamodel.conventions import as_read, as_written
from calico_openstack.datamodel.dhcp import DhcpSubnet, HostRoute
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    HostEndpointPort,
    HostEndpointSpec,
    IpNat,
    NetworkSet,
    NetworkSetSpec,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointPort,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.keys import (
    DhcpSubnetKey,
    EndpointStatusKey,
    FelixStatusKey,
    HostEndpointStatusKey,
    Key,
    LastReportedStatusKey,
    ResourceKey,
    openstack_namespace,
    parse_key,
    parse_workload_endpoint_name,
    prefix_of,
    region_string,
    workload_endpoint_name,
)
from calico_openstack.datamodel.migration import (
    LiveMigration,
    LiveMigrationSource,
    LiveMigrationSpec,
    LiveMigrationTarget,
    WorkloadEndpointRef,
    WorkloadRef,
)
from calico_openstack.datamodel.nodes import Node, NodeAddress, NodeBgpSpec, NodeSpec, OrchRef
from calico_openstack.datamodel.policies import (
    DEFAULT_ALLOW_PROFILE,
    GlobalNetworkPolicy,
    GlobalNetworkPolicySpec,
    NetworkPolicy,
    NetworkPolicySpec,
    Profile,
    ProfileSpec,
    Tier,
    TierSpec,
)
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import API_VERSION, Metadata, Resource
from calico_openstack.datamodel.rules import ANY_ENTITY, EntityRule, IcmpMatch, Rule, RuleMetadata
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.datamodel.validation import validate

__all__ = [
    "ANY_ENTITY",
    "API_VERSION",
    "DEFAULT_ALLOW_PROFILE",
    "AgentStatus",
    "BGPConfiguration",
    "BGPConfigurationSpec",
    "BGPFilter",
    "BGPFilterRule",
    "BGPFilterSpec",
    "BGPPeer",
    "BGPPeerSpec",
    "ClusterInformation",
    "ClusterInformationSpec",
    "DhcpSubnet",
    "DhcpSubnetKey",
    "EndpointStatus",
    "EndpointStatusKey",
    "EntityRule",
    "FelixConfiguration",
    "FelixStatusKey",
    "GlobalNetworkPolicy",
    "GlobalNetworkPolicySpec",
    "GlobalNetworkSet",
    "HostEndpoint",
    "HostEndpointPort",
    "HostEndpointSpec",
    "HostEndpointStatusKey",
    "HostRoute",
    "IPPool",
    "IPPoolSpec",
    "IcmpMatch",
    "Invalid",
    "IpNat",
    "Key",
    "LastReportedStatusKey",
    "LiveMigration",
    "LiveMigrationSource",
    "LiveMigrationSpec",
    "LiveMigrationTarget",
    "Metadata",
    "NetworkPolicy",
    "NetworkPolicySpec",
    "NetworkSet",
    "NetworkSetSpec",
    "Node",
    "NodeAddress",
    "NodeBgpSpec",
    "NodeSpec",
    "OrchRef",
    "PrefixAdvertisement",
    "Profile",
    "ProfileSpec",
    "QosControls",
    "Reason",
    "Resource",
    "ResourceKey",
    "Rule",
    "RuleMetadata",
    "Tier",
    "TierSpec",
    "Value",
    "WorkloadEndpoint",
    "WorkloadEndpointPort",
    "WorkloadEndpointRef",
    "WorkloadEndpointSpec",
    "WorkloadRef",
    "as_read",
    "as_written",
    "decode",
    "decode_at",
    "encode",
    "openstack_namespace",
    "parse_key",
    "parse_workload_endpoint_name",
    "prefix_of",
    "region_string",
    "validate",
    "workload_endpoint_name",
]

"""Felix's settings: every parameter with its names, kind and default, as one typed object.

The fields are the table of parameters: what declares a parameter is what code reads. Durations
are in seconds.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from calico_openstack.datamodel.addresses import Network, parse_address
from calico_openstack.datamodel.keys import openstack_namespace, region_string
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.felix.config.kinds import (
    BOOLEAN,
    FAILSAFE_PORTS,
    HOST,
    INTERFACE_PATTERNS,
    INTERFACE_PREFIXES,
    IPV4,
    IPV6,
    LOG_SEVERITY,
    MARK_MASK,
    METRIC,
    NETWORKS,
    PATTERN,
    PORT,
    PORT_RANGE,
    RATE,
    REGION,
    ROUTE_TABLE_RANGES,
    SECONDS,
    SWITCH,
    TEXT,
    TIMEOUTS,
    UNSET_OR_BOOLEAN,
    FailsafePort,
    Rate,
    integer,
    one_of,
)
from calico_openstack.felix.config.parameters import Parameter, ParameterSet, parameter

TCP, UDP = 6, 17
DEFAULT_METADATA_ADDRESS: Final = "127.0.0.1"
DEFAULT_METADATA_PORT: Final = 8775
_COMMON_FAILSAFE: Final = tuple(
    FailsafePort(TCP, None, port) for port in (179, 2379, 2380, 5473, 6443, 6666, 6667)
)
_FAILSAFE_INBOUND: Final = (
    FailsafePort(TCP, None, 22),
    FailsafePort(UDP, None, 68),
    *_COMMON_FAILSAFE,
)
_FAILSAFE_OUTBOUND: Final = (
    FailsafePort(UDP, None, 53),
    FailsafePort(UDP, None, 67),
    *_COMMON_FAILSAFE,
)
_CLIENT_AUTH: Final = one_of(
    "NoClientCert", "RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven"
)
_CLUSTER_ROUTES: Final = one_of("Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled")
_HOST_INTERFACES: Final = r"^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)"

# One line a parameter, as in a table: its names, kind, default and what is special about it.
# fmt: off
# ruff: noqa: E501 - a declaration makes a field


class FelixSettings(ParameterSet):
    """The settings of one Felix. See ``Parameter`` for what the flags mean."""

    # Connection to the datastore
    datastore_type: str = parameter("DatastoreType", None, one_of("etcdv3"), "etcdv3", local=True, fatal=True, nonzero=True)
    etcd_addr: str = parameter("EtcdAddr", None, TEXT, "127.0.0.1:2379", local=True)
    etcd_scheme: str = parameter("EtcdScheme", None, one_of("http", "https"), "http", local=True)
    etcd_endpoints: str = parameter("EtcdEndpoints", None, TEXT, "", local=True)
    etcd_ca_file: str = parameter("EtcdCaFile", None, TEXT, "", local=True)
    etcd_cert_file: str = parameter("EtcdCertFile", None, TEXT, "", local=True)
    etcd_key_file: str = parameter("EtcdKeyFile", None, TEXT, "", local=True)
    etcd_username: str = parameter("EtcdUsername", None, TEXT, "", local=True)
    etcd_password: str = parameter("EtcdPassword", None, TEXT, "", local=True, secret=True)
    felix_hostname: str = parameter("FelixHostname", None, HOST, "", local=True, nonzero=True)

    # Health
    health_enabled: bool = parameter("HealthEnabled", "healthEnabled", BOOLEAN, False)
    health_host: str = parameter("HealthHost", "healthHost", HOST, "localhost")
    health_port: int = parameter("HealthPort", "healthPort", PORT, 9099)
    health_timeout_overrides: tuple[tuple[str, float], ...] = parameter("HealthTimeoutOverrides", "healthTimeoutOverrides", TIMEOUTS, (), absorbed=True)
    dataplane_watchdog_timeout: float = parameter("DataplaneWatchdogTimeout", "dataplaneWatchdogTimeout", SECONDS, 90.0)

    # Logging
    log_action_rate_limit: Rate | None = parameter("LogActionRateLimit", "logActionRateLimit", RATE, None)
    log_action_rate_limit_burst: int = parameter("LogActionRateLimitBurst", "logActionRateLimitBurst", integer(0, 9999), 5)
    log_debug_filename_regex: str = parameter("LogDebugFilenameRegex", "logDebugFilenameRegex", PATTERN, "")
    log_file_path: str = parameter("LogFilePath", "logFilePath", TEXT, "/var/log/calico/felix.log", fatal=True)
    log_prefix: str = parameter("LogPrefix", "logPrefix", TEXT, "calico-packet")
    log_severity_file: str = parameter("LogSeverityFile", "logSeverityFile", LOG_SEVERITY, "INFO")
    log_severity_screen: str = parameter("LogSeverityScreen", "logSeverityScreen", LOG_SEVERITY, "INFO")
    log_severity_sys: str = parameter("LogSeveritySys", "logSeveritySys", LOG_SEVERITY, "INFO")

    # Metrics
    prometheus_metrics_enabled: bool = parameter("PrometheusMetricsEnabled", "prometheusMetricsEnabled", BOOLEAN, False)
    prometheus_metrics_host: str = parameter("PrometheusMetricsHost", "prometheusMetricsHost", HOST, "")
    prometheus_metrics_port: int = parameter("PrometheusMetricsPort", "prometheusMetricsPort", PORT, 9091)
    prometheus_metrics_ca_file: str = parameter("PrometheusMetricsCAFile", "prometheusMetricsCAFile", TEXT, "")
    prometheus_metrics_cert_file: str = parameter("PrometheusMetricsCertFile", "prometheusMetricsCertFile", TEXT, "")
    prometheus_metrics_key_file: str = parameter("PrometheusMetricsKeyFile", "prometheusMetricsKeyFile", TEXT, "")
    prometheus_metrics_client_auth: str = parameter("PrometheusMetricsClientAuth", "prometheusMetricsClientAuth", _CLIENT_AUTH, "NoClientCert")
    prometheus_process_metrics_enabled: bool = parameter("PrometheusProcessMetricsEnabled", "prometheusProcessMetricsEnabled", BOOLEAN, True)

    # Policy and packets
    allow_ipip_packets_from_workloads: bool = parameter("AllowIPIPPacketsFromWorkloads", "allowIPIPPacketsFromWorkloads", BOOLEAN, False)
    allow_vxlan_packets_from_workloads: bool = parameter("AllowVXLANPacketsFromWorkloads", "allowVXLANPacketsFromWorkloads", BOOLEAN, False)
    default_endpoint_to_host_action: str = parameter("DefaultEndpointToHostAction", "defaultEndpointToHostAction", one_of("ACCEPT", "DROP", "RETURN"), "DROP", fatal=True, nonzero=True)
    disable_conntrack_invalid_check: bool = parameter("DisableConntrackInvalidCheck", "disableConntrackInvalidCheck", BOOLEAN, False)
    external_nodes: tuple[Network, ...] = parameter("ExternalNodesCIDRList", "externalNodesList", NETWORKS, (), fatal=True)
    failsafe_inbound_host_ports: tuple[FailsafePort, ...] = parameter("FailsafeInboundHostPorts", "failsafeInboundHostPorts", FAILSAFE_PORTS, _FAILSAFE_INBOUND, fatal=True)
    failsafe_outbound_host_ports: tuple[FailsafePort, ...] = parameter("FailsafeOutboundHostPorts", "failsafeOutboundHostPorts", FAILSAFE_PORTS, _FAILSAFE_OUTBOUND, fatal=True)
    workload_source_spoofing: str = parameter("WorkloadSourceSpoofing", "workloadSourceSpoofing", one_of("Any", "Disabled"), "Disabled")
    floating_ips: str = parameter("FloatingIPs", "floatingIPs", SWITCH, "Disabled")
    nat_outgoing_address: IPv4Address | None = parameter("NATOutgoingAddress", "natOutgoingAddress", IPV4, None)
    nat_outgoing_exclusions: str = parameter("NATOutgoingExclusions", "natOutgoingExclusions", one_of("IPPoolsAndHostIPs", "IPPoolsOnly"), "IPPoolsOnly")
    nat_port_range: PortRange | None = parameter("NATPortRange", "natPortRange", PORT_RANGE, None)
    nat_outgoing_interface_filter: str = parameter("IptablesNATOutgoingInterfaceFilter", "iptablesNATOutgoingInterfaceFilter", TEXT, "")

    policy_change_ends_flows: bool = parameter("PolicyChangeEndsFlows", "policyChangeEndsFlows", BOOLEAN, True)

    # Mistakes in the datastore
    mass_deletion_hold_percent: int = parameter("MassDeletionHoldPercent", "massDeletionHoldPercent", integer(0, 100), 50, absorbed=True)
    mass_deletion_hold: float = parameter("MassDeletionHoldSecs", "massDeletionHold", SECONDS, 3600.0, absorbed=True)

    # Interfaces
    interface_prefixes: tuple[str, ...] = parameter("InterfacePrefix", "interfacePrefix", INTERFACE_PREFIXES, ("cali",), fatal=True, nonzero=True)
    interface_exclude: tuple[str, ...] = parameter("InterfaceExclude", "interfaceExclude", INTERFACE_PATTERNS, ("kube-ipvs0",))
    interface_refresh_interval: float = parameter("InterfaceRefreshInterval", "interfaceRefreshInterval", SECONDS, 90.0)
    ipv6_support: bool = parameter("Ipv6Support", "ipv6Support", BOOLEAN, True)
    ip_forwarding: str = parameter("IPForwarding", "ipForwarding", SWITCH, "Enabled")
    mtu_iface_pattern: str = parameter("MTUIfacePattern", "mtuIfacePattern", PATTERN, _HOST_INTERFACES)
    mtu_file_path: str = parameter("MTUFilePath", "mtuFilePath", TEXT, "/var/lib/calico/mtu")
    require_mtu_file: bool = parameter("RequireMTUFile", "requireMTUFile", BOOLEAN, False)
    local_subnet_l2_reachability: str = parameter("LocalSubnetL2Reachability", "localSubnetL2Reachability", one_of("Disabled", "PodsAndLoadBalancers"), "Disabled", inert=True)
    local_subnet_l2_reachability_refresh_interval: float = parameter("LocalSubnetL2ReachabilityRefreshInterval", "localSubnetL2ReachabilityRefreshInterval", SECONDS, 120.0, inert=True)

    # Routes
    device_route_protocol: int = parameter("DeviceRouteProtocol", "deviceRouteProtocol", integer(0, 255), 3)
    device_route_source_address: IPv4Address | None = parameter("DeviceRouteSourceAddress", "deviceRouteSourceAddress", IPV4, None)
    device_route_source_address_ipv6: IPv6Address | None = parameter("DeviceRouteSourceAddressIPv6", "deviceRouteSourceAddressIPv6", IPV6, None)
    ipv4_normal_route_priority: int = parameter("IPv4NormalRoutePriority", "ipv4NormalRoutePriority", METRIC, 1024, nonzero=True)
    ipv4_elevated_route_priority: int = parameter("IPv4ElevatedRoutePriority", "ipv4ElevatedRoutePriority", METRIC, 512, nonzero=True)
    ipv6_normal_route_priority: int = parameter("IPv6NormalRoutePriority", "ipv6NormalRoutePriority", METRIC, 1024, nonzero=True)
    ipv6_elevated_route_priority: int = parameter("IPv6ElevatedRoutePriority", "ipv6ElevatedRoutePriority", METRIC, 512, nonzero=True)
    live_migration_route_convergence_time: float = parameter("LiveMigrationRouteConvergenceTime", "liveMigrationRouteConvergenceTime", SECONDS, 30.0)
    program_cluster_routes: str = parameter("ProgramClusterRoutes", "programClusterRoutes", _CLUSTER_ROUTES, "EnabledIPIPOnly", inert=True)
    remove_external_routes: bool = parameter("RemoveExternalRoutes", "removeExternalRoutes", BOOLEAN, True)
    route_refresh_interval: float = parameter("RouteRefreshInterval", "routeRefreshInterval", SECONDS, 90.0)
    route_source: str = parameter("RouteSource", "routeSource", one_of("CalicoIPAM", "WorkloadIPs"), "CalicoIPAM", inert=True)
    route_sync_disabled: bool = parameter("RouteSyncDisabled", "routeSyncDisabled", BOOLEAN, False)
    route_table_ranges: tuple[tuple[int, int], ...] = parameter("RouteTableRanges", "routeTableRanges", ROUTE_TABLE_RANGES, (), fatal=True, inert=True)

    # Programming the kernel
    use_internal_dataplane_driver: bool = parameter("UseInternalDataplaneDriver", "useInternalDataplaneDriver", BOOLEAN, True)
    netlink_timeout: float = parameter("NetlinkTimeoutSecs", "netlinkTimeout", SECONDS, 10.0, inert=True)
    ipsets_refresh_interval: float = parameter("IpsetsRefreshInterval", "ipsetsRefreshInterval", SECONDS, 90.0)
    nftables_mode: str = parameter("NFTablesMode", "nftablesMode", one_of("Auto", "Disabled", "Enabled"), "Auto")
    nftables_filter_allow_action: str = parameter("NftablesFilterAllowAction", "nftablesFilterAllowAction", one_of("ACCEPT", "RETURN"), "ACCEPT", fatal=True, nonzero=True, inert=True)
    nftables_filter_deny_action: str = parameter("NftablesFilterDenyAction", "nftablesFilterDenyAction", one_of("DROP", "REJECT"), "DROP", fatal=True, nonzero=True)
    nftables_mangle_allow_action: str = parameter("NftablesMangleAllowAction", "nftablesMangleAllowAction", one_of("ACCEPT", "RETURN"), "ACCEPT", fatal=True, nonzero=True, inert=True)
    nftables_mark_mask: int = parameter("NftablesMarkMask", "nftablesMarkMask", MARK_MASK, 0xFFFF0000, fatal=True, nonzero=True)
    nftables_refresh_interval: float = parameter("NftablesRefreshInterval", "nftablesRefreshInterval", SECONDS, 180.0)
    nftables_flow_table_offload: str = parameter("NFTablesFlowTableOffload", "nftablesFlowTableOffload", one_of("All", "Disabled"), "Disabled")
    nftables_flow_table_data_iface_pattern: str = parameter("NFTablesFlowTableDataIfacePattern", "nftablesFlowTableDataIfacePattern", PATTERN, "")

    # OpenStack
    endpoint_reporting_enabled: bool = parameter("EndpointReportingEnabled", "endpointReportingEnabled", BOOLEAN, False)
    endpoint_reporting_delay: float = parameter("EndpointReportingDelaySecs", "endpointReportingDelay", SECONDS, 1.0)
    endpoint_status_path_prefix: str = parameter("EndpointStatusPathPrefix", "endpointStatusPathPrefix", TEXT, "/var/run/calico")
    metadata_addr: str = parameter("MetadataAddr", "metadataAddr", HOST, DEFAULT_METADATA_ADDRESS, fatal=True)
    metadata_port: int = parameter("MetadataPort", "metadataPort", PORT, DEFAULT_METADATA_PORT, fatal=True)
    openstack_region: str = parameter("OpenstackRegion", "openstackRegion", REGION, "", fatal=True)
    reporting_interval: float = parameter("ReportingIntervalSecs", "reportingInterval", SECONDS, 30.0)
    reporting_ttl: float = parameter("ReportingTTLSecs", "reportingTTL", SECONDS, 90.0)

    # Overlays
    ip_in_ip_enabled: bool | None = parameter("IpInIpEnabled", "ipipEnabled", UNSET_OR_BOOLEAN, None, inert=True)
    ip_in_ip_mtu: int = parameter("IpInIpMtu", "ipipMTU", integer(0), 0, inert=True)
    vxlan_enabled: bool | None = parameter("VXLANEnabled", "vxlanEnabled", UNSET_OR_BOOLEAN, None, inert=True)
    vxlan_mtu: int = parameter("VXLANMTU", "vxlanMTU", integer(0), 0, inert=True)
    vxlan_mtu_v6: int = parameter("VXLANMTUV6", "vxlanMTUV6", integer(0), 0, inert=True)
    vxlan_port: int = parameter("VXLANPort", "vxlanPort", PORT, 4789)
    vxlan_vni: int = parameter("VXLANVNI", "vxlanVNI", integer(0, 2**24 - 1), 4096, inert=True)

    # Faults for tests: upstream's names, in seconds, 0 is off
    debug_simulate_calc_graph_hang_after: float = parameter("DebugSimulateCalcGraphHangAfter", "debugSimulateCalcGraphHangAfter", SECONDS, 0.0)
    debug_simulate_dataplane_hang_after: float = parameter("DebugSimulateDataplaneHangAfter", "debugSimulateDataplaneHangAfter", SECONDS, 0.0)
    debug_simulate_dataplane_apply_delay: float = parameter("DebugSimulateDataplaneApplyDelay", "debugSimulateDataplaneApplyDelay", SECONDS, 0.0)

    # Facts of the cluster and of this host's node, which come through the same channel
    cluster_guid: str = parameter("ClusterGUID", None, TEXT, "", absorbed=True)
    cluster_type: str = parameter("ClusterType", None, TEXT, "", absorbed=True)
    calico_version: str = parameter("CalicoVersion", None, TEXT, "", absorbed=True)
    ip_in_ip_tunnel_addr: IPv4Address | None = parameter("IpInIpTunnelAddr", None, IPV4, None)
    ipv4_vxlan_tunnel_addr: IPv4Address | None = parameter("IPv4VXLANTunnelAddr", None, IPV4, None)
    vxlan_tunnel_mac_addr: str = parameter("VXLANTunnelMACAddr", None, TEXT, "")
    ipv6_vxlan_tunnel_addr: IPv6Address | None = parameter("IPv6VXLANTunnelAddr", None, IPV6, None)
    vxlan_tunnel_mac_addr_v6: str = parameter("VXLANTunnelMACAddrV6", None, TEXT, "")

    # fmt: on

    @property
    def openstack(self) -> bool:
        """Whether the special cases for OpenStack apply: DHCP, DNS, metadata, DHCP discovery."""
        return (
            "openstack" in self.cluster_type.lower()
            or self.metadata_addr not in ("", DEFAULT_METADATA_ADDRESS)
            or self.metadata_port != DEFAULT_METADATA_PORT
            or "tap" in self.interface_prefixes
        )

    @property
    def metadata_address(self) -> IPv4Address | None:
        """The metadata server, if it is given as an IPv4 address: nothing is done for a name."""
        address = parse_address(self.metadata_addr)
        return address if isinstance(address, IPv4Address) else None

    @property
    def region_string(self) -> str:
        """The region as it stands in the keys of status: ``no-region`` or ``region-<name>``."""
        return region_string(self.openstack_region)

    @property
    def namespace(self) -> str:
        """The namespace of this region's endpoints and policies."""
        return openstack_namespace(self.openstack_region)


PARAMETERS: Final[dict[str, Parameter]] = FelixSettings.PARAMETERS
"""Every parameter by the attribute of the settings that holds it."""

ATTRIBUTES: Final[dict[str, str]] = {
    declared.name.lower(): attribute for attribute, declared in PARAMETERS.items()
}
"""The attribute of every parameter by its name in lower case, in which names are compared."""

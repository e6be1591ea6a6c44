"""What each part of Felix is told, derived from the parameters. Pure."""

from __future__ import annotations

from typing import Final

from calico_openstack.felix.calc import CalculationSettings
from calico_openstack.felix.config import FelixSettings
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.migrations import MigrationSettings
from calico_openstack.felix.render.settings import DenyAction, HostAction, OpenPort, RenderSettings
from calico_openstack.felix.reporting import ReportingSettings
from calico_openstack.policy.host_interfaces import InterfaceSelection

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def calculation_settings(settings: FelixSettings) -> CalculationSettings:
    """Return what decides which endpoints count."""
    return CalculationSettings(
        source_spoofing=settings.workload_source_spoofing == "Any",
        host_interfaces=InterfaceSelection(
            workload_prefixes=settings.interface_prefixes, excluded=settings.interface_exclude
        ),
    )


def render_settings(settings: FelixSettings, *, flow_offload: bool = False) -> RenderSettings:
    """Return what decides about the rules and routes of an endpoint.

    *flow_offload*: flows are offloaded; settings alone do not say whether the kernel can.
    """
    return RenderSettings(
        interface_prefixes=settings.interface_prefixes,
        openstack=settings.openstack,
        metadata_address=settings.metadata_address,
        metadata_port=settings.metadata_port,
        endpoint_to_host_action=HostAction(settings.default_endpoint_to_host_action),
        deny_action=DenyAction(settings.nftables_filter_deny_action),
        mark_mask=settings.nftables_mark_mask,
        log_prefix=settings.log_prefix,
        drop_invalid=not settings.disable_conntrack_invalid_check,
        vxlan_port=settings.vxlan_port,
        allow_vxlan_from_workloads=settings.allow_vxlan_packets_from_workloads,
        allow_ipip_from_workloads=settings.allow_ipip_packets_from_workloads,
        ipv6=settings.ipv6_support,
        ip_forwarding=settings.ip_forwarding == "Enabled",
        sync_routes=not settings.route_sync_disabled,
        route_protocol=settings.device_route_protocol,
        ipv4_route_priority=settings.ipv4_normal_route_priority,
        ipv6_route_priority=settings.ipv6_normal_route_priority,
        ipv4_elevated_route_priority=settings.ipv4_elevated_route_priority,
        ipv6_elevated_route_priority=settings.ipv6_elevated_route_priority,
        ipv4_route_source=settings.device_route_source_address,
        ipv6_route_source=settings.device_route_source_address_ipv6,
        log_rate=_log_rate(settings),
        log_burst=settings.log_action_rate_limit_burst,
        floating_ips=settings.floating_ips == "Enabled",
        nat_outgoing_address=settings.nat_outgoing_address,
        nat_outgoing_interface=settings.nat_outgoing_interface_filter,
        nat_ports=settings.nat_port_range,
        nat_excludes_hosts=nat_excludes_hosts(settings),
        external_nodes=settings.external_nodes,
        failsafe_inbound=tuple(OpenPort(*port) for port in settings.failsafe_inbound_host_ports),
        failsafe_outbound=tuple(OpenPort(*port) for port in settings.failsafe_outbound_host_ports),
        flow_offload=flow_offload,
    )


def nat_excludes_hosts(settings: FelixSettings) -> bool:
    """Tell whether traffic to hosts keeps its source, so that all hosts must be known."""
    return settings.nat_outgoing_exclusions == "IPPoolsAndHostIPs"


def _log_rate(settings: FelixSettings) -> tuple[int, int] | None:
    rate = settings.log_action_rate_limit
    return (rate.count, _SECONDS[rate.unit]) if rate else None


def route_ownership(settings: FelixSettings) -> RouteOwnership:
    """Return which routes of this host are Felix's to remove."""
    return RouteOwnership(
        is_workload=lambda name: name.startswith(settings.interface_prefixes),
        remove_external=settings.remove_external_routes,
        device_protocol=settings.device_route_protocol,
        manages=not settings.route_sync_disabled,
    )


def migration_settings(settings: FelixSettings) -> MigrationSettings:
    """Return what decides how live migrations go."""
    return MigrationSettings(
        host=settings.felix_hostname,
        convergence=settings.live_migration_route_convergence_time,
        elevated={
            4: settings.ipv4_elevated_route_priority,
            6: settings.ipv6_elevated_route_priority,
        },
        normal={
            4: settings.ipv4_normal_route_priority,
            6: settings.ipv6_normal_route_priority,
        },
    )


def reporting_settings(settings: FelixSettings) -> ReportingSettings:
    """Return what is reported, and how often; an interval of 0 turns all reports off."""
    return ReportingSettings(
        region=settings.region_string,
        host=settings.felix_hostname,
        interval=settings.reporting_interval,
        ttl=settings.reporting_ttl,
        endpoints=settings.endpoint_reporting_enabled and settings.reporting_interval > 0,
        delay=settings.endpoint_reporting_delay,
    )


def audit_interval(settings: FelixSettings) -> float:
    """Return the shortest of the refresh intervals: all is read back together. 0: never."""
    intervals = (
        settings.interface_refresh_interval,
        settings.ipsets_refresh_interval,
        settings.nftables_refresh_interval,
        settings.route_refresh_interval,
    )
    return min((interval for interval in intervals if interval), default=0.0)

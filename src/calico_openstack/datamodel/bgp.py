"""BGP configuration, peers and filters."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from calico_openstack.datamodel.asnumber import normalised_as_number
from calico_openstack.datamodel.resource import JsonObject, Resource

_force = msgspec.structs.force_setattr


class SecretKeyRef(JsonObject, frozen=True, kw_only=True):
    """A key of a secret; ``optional`` has no effect here."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class BgpPassword(JsonObject, frozen=True, kw_only=True):
    """Where the password of a session is found."""

    secret_key_ref: SecretKeyRef | None = None


class ServiceCidr(JsonObject, frozen=True, kw_only=True):
    """A block of service addresses."""

    cidr: str = ""


class Community(JsonObject, frozen=True, kw_only=True):
    """A name for a community value, ``aa:nn`` or ``aa:nn:mm``."""

    name: str = ""
    value: str = ""


class PrefixAdvertisement(JsonObject, frozen=True, kw_only=True):
    """Communities, by name or value, for every route inside ``cidr``."""

    cidr: str = ""
    communities: tuple[str, ...] = ()


class BGPConfigurationSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a BGP configuration; None means the documented default.

    Durations are text in Go's notation (``1m30s``).
    """

    log_severity_screen: str = ""
    node_to_node_mesh_enabled: bool | None = None
    as_number: int | str | None = None
    service_load_balancer_ips: tuple[ServiceCidr, ...] = msgspec.field(
        default=(), name="serviceLoadBalancerIPs"
    )
    service_external_ips: tuple[ServiceCidr, ...] = msgspec.field(
        default=(), name="serviceExternalIPs"
    )
    service_cluster_ips: tuple[ServiceCidr, ...] = msgspec.field(
        default=(), name="serviceClusterIPs"
    )
    service_load_balancer_aggregation: str | None = None
    communities: tuple[Community, ...] = ()
    prefix_advertisements: tuple[PrefixAdvertisement, ...] = ()
    listen_port: int = 0
    node_mesh_password: BgpPassword | None = None
    node_mesh_max_restart_time: str | None = None
    bind_mode: str | None = None
    ignored_interfaces: tuple[str, ...] = ()
    local_workload_peering_ipv4: str = msgspec.field(default="", name="localWorkloadPeeringIPV4")
    local_workload_peering_ipv6: str = msgspec.field(default="", name="localWorkloadPeeringIPV6")
    program_cluster_routes: str | None = None
    ipv4_normal_route_priority: int | None = msgspec.field(
        default=None, name="ipv4NormalRoutePriority"
    )
    ipv6_normal_route_priority: int | None = msgspec.field(
        default=None, name="ipv6NormalRoutePriority"
    )

    def __post_init__(self) -> None:
        if self.as_number is not None:
            _force(self, "as_number", normalised_as_number(self.as_number))


class BGPConfiguration(Resource, frozen=True, kw_only=True):
    """BGP settings of the cluster (``default``) or of one host (``node.<hostname>``)."""

    KIND: ClassVar[str] = "BGPConfiguration"
    PLURAL: ClassVar[str] = "bgpconfigurations"

    kind: str = KIND
    spec: BGPConfigurationSpec = BGPConfigurationSpec()


class BGPPeerSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a BGP peer. ``peer_ip`` is ``addr``, ``v4:port`` or ``[v6]:port``."""

    node: str = ""
    node_selector: str = ""
    peer_ip: str = msgspec.field(default="", name="peerIP")
    as_number: int | str | None = None
    local_as_number: int | str | None = msgspec.field(default=None, name="localASNumber")
    peer_selector: str = ""
    keep_original_next_hop: bool = False
    next_hop_mode: str | None = None
    password: BgpPassword | None = None
    source_address: str = ""
    max_restart_time: str | None = None
    keepalive_time: str | None = None
    num_allowed_local_as_numbers: int | None = msgspec.field(
        default=None, name="numAllowedLocalASNumbers"
    )
    ttl_security: int | None = None
    reachable_by: str = ""
    filters: tuple[str, ...] = ()
    local_workload_selector: str = ""
    reverse_peering: str | None = None

    def __post_init__(self) -> None:
        if self.as_number is not None:
            _force(self, "as_number", normalised_as_number(self.as_number))
        if self.local_as_number is not None:
            _force(self, "local_as_number", normalised_as_number(self.local_as_number))


class BGPPeer(Resource, frozen=True, kw_only=True):
    """One or more BGP sessions, described by what they connect."""

    KIND: ClassVar[str] = "BGPPeer"
    PLURAL: ClassVar[str] = "bgppeers"

    kind: str = KIND
    spec: BGPPeerSpec = BGPPeerSpec()


class PrefixLength(JsonObject, frozen=True, kw_only=True):
    """Bounds of a prefix length, both included."""

    min: int | None = None
    max: int | None = None


class CommunityMatch(JsonObject, frozen=True, kw_only=True):
    """Communities that a route must carry: exactly one value."""

    values: tuple[str, ...] = ()


class AddCommunity(JsonObject, frozen=True, kw_only=True):
    """Add a community to a route."""

    value: str = ""


class PrependASPath(JsonObject, frozen=True, kw_only=True):
    """Prepend AS numbers, so that the path starts with them in this order."""

    prefix: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        _force(self, "prefix", tuple(map(normalised_as_number, self.prefix)))


class SetPriority(JsonObject, frozen=True, kw_only=True):
    """Set the priority of a route (a kernel metric: lower is better)."""

    value: int | None = None


class BGPFilterOperation(JsonObject, frozen=True, kw_only=True):
    """A change to a route: exactly one member is set."""

    add_community: AddCommunity | None = None
    prepend_as_path: PrependASPath | None = msgspec.field(default=None, name="prependASPath")
    set_priority: SetPriority | None = None


class BGPFilterRule(JsonObject, frozen=True, kw_only=True):
    """A rule of a filter. Without any condition it matches every route."""

    action: str
    cidr: str = ""
    prefix_length: PrefixLength | None = None
    source: str = ""
    interface: str = ""
    match_operator: str = ""
    peer_type: str = ""
    communities: CommunityMatch | None = None
    as_path_prefix: tuple[int | str, ...] = msgspec.field(default=(), name="asPathPrefix")
    priority: int | None = None
    operations: tuple[BGPFilterOperation, ...] = ()

    def __post_init__(self) -> None:
        if self.as_path_prefix:
            _force(self, "as_path_prefix", tuple(map(normalised_as_number, self.as_path_prefix)))


class BGPFilterSpec(JsonObject, frozen=True, kw_only=True):
    """Rules by direction and family; the first that matches decides."""

    export_v4: tuple[BGPFilterRule, ...] = msgspec.field(default=(), name="exportV4")
    import_v4: tuple[BGPFilterRule, ...] = msgspec.field(default=(), name="importV4")
    export_v6: tuple[BGPFilterRule, ...] = msgspec.field(default=(), name="exportV6")
    import_v6: tuple[BGPFilterRule, ...] = msgspec.field(default=(), name="importV6")


class BGPFilter(Resource, frozen=True, kw_only=True):
    """Which routes a peer's session imports and exports."""

    KIND: ClassVar[str] = "BGPFilter"
    PLURAL: ClassVar[str] = "bgpfilters"

    kind: str = KIND
    spec: BGPFilterSpec = BGPFilterSpec()

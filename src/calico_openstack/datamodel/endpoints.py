"""Workload and host endpoints, and the sets of addresses that stand beside them in selectors."""

from __future__ import annotations

import re
from typing import ClassVar, Final

import msgspec

from calico_openstack.datamodel.protocols import normalised_protocol
from calico_openstack.datamodel.resource import JsonObject, Resource, written_even_if_empty

# Without repetitions: half the time.
CANONICAL_MAC: Final = re.compile(":".join(["[0-9a-f][0-9a-f]"] * 6))
# The notations of IEEE 802 addresses in use: colons, dashes, or dotted groups of four digits.
_MAC_NOTATIONS: Final = re.compile(
    r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}"
    r"|[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}"
    r"|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4}){2}"
)


def normalised_mac(text: str) -> str:
    """Return a MAC address as ``aa:bb:cc:dd:ee:ff``; what is none is returned as it is."""
    if CANONICAL_MAC.fullmatch(text) or not _MAC_NOTATIONS.fullmatch(text):
        return text
    digits = text.translate({ord(":"): None, ord("-"): None, ord("."): None}).lower()
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def is_mac(text: str) -> bool:
    """Tell whether ``text`` is a MAC address in any of the accepted notations."""
    return _MAC_NOTATIONS.fullmatch(text) is not None


class IpNat(JsonObject, frozen=True, kw_only=True):
    """A floating IP: ``external_ip`` leads to ``internal_ip``, one of the endpoint's own."""

    internal_ip: str = msgspec.field(default="", name="internalIP")
    external_ip: str = msgspec.field(default="", name="externalIP")


class WorkloadEndpointPort(JsonObject, frozen=True, kw_only=True, omit_defaults=False):
    """A named port of a workload. All members are always written."""

    name: str = ""
    protocol: int | str = ""
    port: int = 0
    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "protocol", normalised_protocol(self.protocol))


class QosControls(JsonObject, frozen=True, kw_only=True):
    """Limits on the traffic of an endpoint, from its point of view; None or 0 is no limit.

    Bandwidths and peak rates in bit/s, bursts in bits, minimum bursts in bytes, packet rates in
    packets/s, packet bursts in packets, connections as a number of conntrack entries.
    """

    ingress_bandwidth: int | None = None
    ingress_burst: int | None = None
    ingress_peakrate: int | None = None
    ingress_minburst: int | None = None
    ingress_packet_rate: int | None = None
    ingress_packet_burst: int | None = None
    ingress_max_connections: int | None = None
    egress_bandwidth: int | None = None
    egress_burst: int | None = None
    egress_peakrate: int | None = None
    egress_minburst: int | None = None
    egress_packet_rate: int | None = None
    egress_packet_burst: int | None = None
    egress_max_connections: int | None = None
    dscp: int | str | None = None


class WorkloadEndpointSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a workload endpoint.

    ``ip_networks`` are the addresses of the workload, each a /32 or /128 or a bare address; an
    endpoint without any counts as absent. ``allowed_ips`` are those of them that came from
    allowed address pairs: only the OpenStack driver and the DHCP agent know it. Both lists are
    always written. ``interface_name`` is that of the TAP device on ``node``.
    """

    orchestrator: str = ""
    workload: str = ""
    node: str = ""
    endpoint: str = ""
    interface_name: str = ""
    mac: str = ""
    ipv4_gateway: str = msgspec.field(default="", name="ipv4Gateway")
    ipv6_gateway: str = msgspec.field(default="", name="ipv6Gateway")
    ip_networks: tuple[str, ...] = msgspec.field(
        default_factory=written_even_if_empty, name="ipNetworks"
    )
    allowed_ips: tuple[str, ...] = msgspec.field(
        default_factory=written_even_if_empty, name="allowedIps"
    )
    ip_nats: tuple[IpNat, ...] = msgspec.field(default=(), name="ipNATs")
    qos_controls: QosControls | None = None
    profiles: tuple[str, ...] = ()
    ports: tuple[WorkloadEndpointPort, ...] = ()
    allow_spoofed_source_prefixes: tuple[str, ...] = ()
    service_account_name: str = ""
    pod: str = ""
    container_id: str = msgspec.field(default="", name="containerID")

    def __post_init__(self) -> None:
        if not CANONICAL_MAC.fullmatch(self.mac):
            msgspec.structs.force_setattr(self, "mac", normalised_mac(self.mac))


class WorkloadEndpoint(Resource, frozen=True, kw_only=True):
    """An interface of a workload: in OpenStack, a Neutron port bound to a host."""

    KIND: ClassVar[str] = "WorkloadEndpoint"
    PLURAL: ClassVar[str] = "workloadendpoints"
    NAMESPACED: ClassVar[bool] = True

    kind: str = KIND
    spec: WorkloadEndpointSpec = WorkloadEndpointSpec()


class HostEndpointPort(JsonObject, frozen=True, kw_only=True, omit_defaults=False):
    """A named port of a host. All members are always written."""

    name: str = ""
    protocol: int | str = ""
    port: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "protocol", normalised_protocol(self.protocol))


class HostEndpointSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a host endpoint; ``interface_name`` may be ``*`` for every interface."""

    node: str = ""
    interface_name: str = ""
    expected_ips: tuple[str, ...] = msgspec.field(default=(), name="expectedIPs")
    profiles: tuple[str, ...] = ()
    ports: tuple[HostEndpointPort, ...] = ()


class HostEndpoint(Resource, frozen=True, kw_only=True):
    """An interface of a host that policy applies to."""

    KIND: ClassVar[str] = "HostEndpoint"
    PLURAL: ClassVar[str] = "hostendpoints"

    kind: str = KIND
    spec: HostEndpointSpec = HostEndpointSpec()


class NetworkSetSpec(JsonObject, frozen=True, kw_only=True):
    """Networks and addresses of a set."""

    nets: tuple[str, ...] = ()


class NetworkSet(Resource, frozen=True, kw_only=True):
    """Networks that selectors of one namespace's policies can choose by label."""

    KIND: ClassVar[str] = "NetworkSet"
    PLURAL: ClassVar[str] = "networksets"
    NAMESPACED: ClassVar[bool] = True

    kind: str = KIND
    spec: NetworkSetSpec = NetworkSetSpec()


class GlobalNetworkSet(Resource, frozen=True, kw_only=True):
    """Networks that selectors can choose by label."""

    KIND: ClassVar[str] = "GlobalNetworkSet"
    PLURAL: ClassVar[str] = "globalnetworksets"

    kind: str = KIND
    spec: NetworkSetSpec = NetworkSetSpec()

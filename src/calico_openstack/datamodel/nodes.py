"""Nodes: the hosts as BGP and overlays see them."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from calico_openstack.datamodel.asnumber import normalised_as_number
from calico_openstack.datamodel.resource import JsonObject, Resource


class NodeBgpSpec(JsonObject, frozen=True, kw_only=True):
    """BGP identity of a host. Addresses carry the mask of their subnet: ``192.0.2.10/24``."""

    as_number: int | str | None = None
    ipv4_address: str = msgspec.field(default="", name="ipv4Address")
    ipv6_address: str = msgspec.field(default="", name="ipv6Address")
    ipv4_ipip_tunnel_addr: str = msgspec.field(default="", name="ipv4IPIPTunnelAddr")
    route_reflector_cluster_id: str = msgspec.field(default="", name="routeReflectorClusterID")

    def __post_init__(self) -> None:
        if self.as_number is not None:
            number = normalised_as_number(self.as_number)
            msgspec.structs.force_setattr(self, "as_number", number)


class OrchRef(JsonObject, frozen=True, kw_only=True):
    """The name by which an orchestrator knows the host."""

    node_name: str = ""
    orchestrator: str = ""


class NodeWireguardSpec(JsonObject, frozen=True, kw_only=True):
    """Addresses of the WireGuard interfaces."""

    interface_ipv4_address: str = msgspec.field(default="", name="interfaceIPv4Address")
    interface_ipv6_address: str = msgspec.field(default="", name="interfaceIPv6Address")


class NodeAddress(JsonObject, frozen=True, kw_only=True):
    """An address, with or without mask, and what it is for."""

    address: str = ""
    type: str = ""


class NodeInterface(JsonObject, frozen=True, kw_only=True):
    """An interface and its addresses; informational."""

    name: str = ""
    addresses: tuple[str, ...] = ()


class NodeSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a node. ``bgp`` None is a host without BGP identity."""

    bgp: NodeBgpSpec | None = None
    ipv4_vxlan_tunnel_addr: str = msgspec.field(default="", name="ipv4VXLANTunnelAddr")
    vxlan_tunnel_mac_addr: str = msgspec.field(default="", name="vxlanTunnelMACAddr")
    ipv6_vxlan_tunnel_addr: str = msgspec.field(default="", name="ipv6VXLANTunnelAddr")
    vxlan_tunnel_mac_addr_v6: str = msgspec.field(default="", name="vxlanTunnelMACAddrV6")
    orch_refs: tuple[OrchRef, ...] = ()
    wireguard: NodeWireguardSpec | None = None
    addresses: tuple[NodeAddress, ...] = ()
    interfaces: tuple[NodeInterface, ...] = ()


class Node(Resource, frozen=True, kw_only=True):
    """A host. Its labels choose BGP peerings and configuration."""

    KIND: ClassVar[str] = "Node"
    PLURAL: ClassVar[str] = "nodes"

    kind: str = KIND
    spec: NodeSpec = NodeSpec()
    status: dict[str, Any] = msgspec.field(default_factory=dict)

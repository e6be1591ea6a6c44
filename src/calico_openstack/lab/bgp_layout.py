"""How BGP sessions are laid out in the lab, as the resources an operator would write. Pure.

``mesh``        the hosts have sessions with each other, and each with the router
``reflectors``  the first two hosts reflect routes between all; each has sessions with the router
``tor``         the hosts are a rack with an AS of its own and have sessions with the router only,
                which passes routes on; BFD and, since LOCAL_PREF stays inside an AS, a community
                for workloads that move
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, ip_address, ip_network

from calico_openstack.bgp.extras import DOMAIN, Bfd
from calico_openstack.bgp.tor import Neighbors, TorRouter
from calico_openstack.datamodel.bgp import (
    AddCommunity,
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPFilter,
    BGPFilterOperation,
    BGPFilterRule,
    BGPFilterSpec,
    BGPPeer,
    BGPPeerSpec,
    CommunityMatch,
    SetPriority,
)
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.lab.topology import (
    CLIENT4,
    CLIENT6,
    CLUSTER_AS,
    TOR_AS,
    Topology,
)

RACK_AS = 65101
CLUSTER_ID = "172.30.255.1"
REFLECTOR_LABEL = "route-reflector"
MOVING_FILTER = "moving-workloads"
_REFLECTORS = 2
_MOVING_COMMUNITY = "65000:512"
_ELEVATED_PRIORITY = 512
# BFD cannot tell a killed BIRD from a lost host: the router keeps the routes of either for this
# long, in which a BIRD is back.
_BFD = Bfd(graceful=True)
_RESTART_TIME = "10s"


class BgpLayout(StrEnum):
    """The layouts by the names of the option."""

    MESH = "mesh"
    REFLECTORS = "reflectors"
    TOR = "tor"


@dataclass(frozen=True)
class Plan:
    """What a layout needs: resources without identifiers and times, and the router."""

    resources: tuple[Resource, ...]
    router: TorRouter


def plan_bgp(topology: Topology, layout: BgpLayout, *, log_file: str = "") -> Plan:
    """Return what the operator of the lab writes for a layout."""
    rack = layout is BgpLayout.TOR
    router = TorRouter(
        router_id=IPv4Address(topology.tor.ipv4),
        as_number=TOR_AS,
        neighbors=tuple(
            Neighbors(ip_address(address), RACK_AS if rack else CLUSTER_AS)
            for host in topology.compute
            for address in (host.ipv4, host.ipv6)
        ),
        advertised=(ip_network(CLIENT4), ip_network(CLIENT6)),
        transit=rack,
        bfd=_BFD if rack else None,
        log_file=log_file,
    )
    return Plan(resources(topology, layout), router)


def resources(topology: Topology, layout: BgpLayout = BgpLayout.MESH) -> tuple[Resource, ...]:
    """Return a layout's resources, without identifiers and times."""
    rack = layout is BgpLayout.TOR
    configuration = BGPConfiguration(
        metadata=Metadata(name="default"),
        spec=BGPConfigurationSpec(
            as_number=RACK_AS if rack else CLUSTER_AS,
            node_to_node_mesh_enabled=layout is BgpLayout.MESH,
            log_severity_screen="Info",
        ),
    )
    others: tuple[Resource, ...] = ()
    if layout is BgpLayout.REFLECTORS:
        others = _reflection(topology)
    elif rack:
        others = (_moving_workloads(),)
    return (configuration, *_router_peers(topology, rack=rack), *others)


def _router_peers(topology: Topology, *, rack: bool) -> tuple[Resource, ...]:
    addresses = (("ipv4", topology.tor.ipv4), ("ipv6", topology.tor.ipv6))
    annotations = {DOMAIN + "direct": "true", DOMAIN + "bfd": str(_BFD)} if rack else {}
    return tuple(
        BGPPeer(
            metadata=Metadata(name=f"tor-{family}", annotations=annotations),
            spec=BGPPeerSpec(
                peer_ip=address,
                as_number=TOR_AS,
                # The router passes on routes of hosts in the same AS.
                num_allowed_local_as_numbers=1 if rack else None,
                max_restart_time=_RESTART_TIME if rack else None,
                filters=(MOVING_FILTER,) if rack else (),
            ),
        )
        for family, address in addresses
    )


def _reflection(topology: Topology) -> tuple[Resource, ...]:
    nodes = (
        Node(
            metadata=Metadata(name=host.name, labels={REFLECTOR_LABEL: "true"}),
            spec=NodeSpec(bgp=NodeBgpSpec(route_reflector_cluster_id=CLUSTER_ID)),
        )
        for host in topology.compute[:_REFLECTORS]
    )
    is_reflector = f"has({REFLECTOR_LABEL})"
    peers = (
        BGPPeer(
            metadata=Metadata(name=name),
            spec=BGPPeerSpec(node_selector=near, peer_selector=is_reflector),
        )
        for name, near in (("clients", f"!{is_reflector}"), ("reflectors", is_reflector))
    )
    return (*nodes, *peers)


def _moving_workloads() -> BGPFilter:
    """Carry the priority of a workload that moves through another AS, as a community."""
    leaving = BGPFilterRule(
        action="Accept",
        interface="tap*",
        priority=_ELEVATED_PRIORITY,
        operations=(BGPFilterOperation(add_community=AddCommunity(value=_MOVING_COMMUNITY)),),
    )
    arriving = BGPFilterRule(
        action="Accept",
        communities=CommunityMatch(values=(_MOVING_COMMUNITY,)),
        operations=(BGPFilterOperation(set_priority=SetPriority(value=_ELEVATED_PRIORITY)),),
    )
    return BGPFilter(
        metadata=Metadata(name=MOVING_FILTER),
        spec=BGPFilterSpec(
            export_v4=(leaving,), export_v6=(leaving,), import_v4=(arriving,), import_v6=(arriving,)
        ),
    )

"""Short ways to write the resources of a BGP scenario."""

from __future__ import annotations

from typing import Any

from calico_openstack.bgp.extras import DOMAIN
from calico_openstack.bgp.peering import sessions_of
from calico_openstack.bgp.session import Session
from calico_openstack.bgp.settings import settings_of
from calico_openstack.bgp.state import BgpState, StateStore
from calico_openstack.datamodel.bgp import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPFilter,
    BGPFilterSpec,
    BgpPassword,
    BGPPeer,
    BGPPeerSpec,
    SecretKeyRef,
)
from calico_openstack.datamodel.configuration import FelixConfiguration
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import Metadata, Resource


def node(
    name: str, ipv4: str = "", ipv6: str = "", labels: dict[str, str] | None = None, **bgp: Any
) -> Node:
    return Node(
        metadata=Metadata(name=name, labels=labels or {}),
        spec=NodeSpec(bgp=NodeBgpSpec(ipv4_address=ipv4, ipv6_address=ipv6, **bgp)),
    )


def nodes(count: int = 3, **changes: Any) -> list[Node]:
    """Return n2, n3, ... with addresses 10.0.0.2/24, fd00::2/64 and so on."""
    return [
        node(f"n{i}", f"10.0.0.{i}/24", f"fd00::{i}/64", **changes) for i in range(2, count + 2)
    ]


def annotated_node(name: str, annotations: dict[str, str], **spec: Any) -> Node:
    """Return a Node with annotations of the agent's domain."""
    made = node(name, **spec)
    metadata = Metadata(name=name, annotations=annotated(annotations))
    return Node(metadata=metadata, spec=made.spec)


def subnet(cidr: str) -> DhcpSubnet:
    return DhcpSubnet(network_id="n", cidr=cidr, gateway_ip=None)


def configuration(
    name: str = "default", annotations: dict[str, str] | None = None, **spec: Any
) -> BGPConfiguration:
    metadata = Metadata(name=name, annotations=annotated(annotations))
    return BGPConfiguration(metadata=metadata, spec=BGPConfigurationSpec(**spec))


def peer(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> BGPPeer:
    metadata = Metadata(name=name, annotations=annotated(annotations))
    return BGPPeer(metadata=metadata, spec=BGPPeerSpec(**spec))


def annotated(annotations: dict[str, str] | None) -> dict[str, str]:
    """Put annotations under the agent's domain."""
    return {DOMAIN + name: text for name, text in (annotations or {}).items()}


def bgp_filter(name: str, **spec: Any) -> BGPFilter:
    return BGPFilter(metadata=Metadata(name=name), spec=BGPFilterSpec(**spec))


def pool(name: str, cidr: str, **spec: Any) -> IPPool:
    return IPPool(metadata=Metadata(name=name), spec=IPPoolSpec(cidr=cidr, **spec))


def felix(name: str = "default", **spec: Any) -> FelixConfiguration:
    return FelixConfiguration(metadata=Metadata(name=name), spec=spec)


def password(name: str, key: str = "password") -> BgpPassword:
    return BgpPassword(secret_key_ref=SecretKeyRef(name=name, key=key))


def state_of(*resources: Resource) -> BgpState:
    store = StateStore()
    for resource in resources:
        store.apply(resource.KIND, resource.metadata.name, resource)
    return store.state()


def sessions(host: str, *resources: Resource) -> dict[str, Session]:
    """Return the sessions of a host by their names, without a look at their trust."""
    state = state_of(*resources)
    settings, _ = settings_of(state, host)
    found, _ = sessions_of(state, settings)
    return {session.name: session for session in found}

"""What the lab's operator writes into etcd: the cluster's AS number and its router as a peer."""

import time
import uuid

from calico_openstack.datamodel.bgp import (
    BGPConfiguration,
    BGPConfigurationSpec,
    BGPPeer,
    BGPPeerSpec,
)
from calico_openstack.datamodel.codec import encode
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.lab import etcd_server
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import CLUSTER_AS, TOR_AS, Topology


def resources(topology: Topology) -> tuple[Resource, ...]:
    """The lab's BGP resources, without identifiers and times.

    The hosts have sessions with each other, and each one with the router for each family.
    """
    tor = topology.tor
    return (
        BGPConfiguration(
            metadata=Metadata(name="default"),
            spec=BGPConfigurationSpec(
                as_number=CLUSTER_AS,
                node_to_node_mesh_enabled=True,
                log_severity_screen="Info",
            ),
        ),
        *(
            BGPPeer(
                metadata=Metadata(name=f"tor-{family}"),
                spec=BGPPeerSpec(peer_ip=address, as_number=TOR_AS),
            )
            for family, address in (("ipv4", tor.ipv4), ("ipv6", tor.ipv6))
        ),
    )


def store(lab: Lab, topology: Topology) -> None:
    """Write the resources. Raises CommandError."""
    for resource in resources(topology):
        key = ResourceKey(resource.KIND, resource.metadata.name)
        metadata = Metadata(
            name=resource.metadata.name,
            uid=str(uuid.uuid4()),
            creation_timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        stored = type(resource)(metadata=metadata, spec=resource.spec)  # type: ignore[attr-defined,call-arg]
        etcd_server.put(lab, key.path, encode(stored))

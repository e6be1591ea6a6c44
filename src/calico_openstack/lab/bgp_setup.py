"""What the lab's operator writes into etcd for BGP, before the agents start."""

import time
import uuid

import msgspec

from calico_openstack.datamodel.codec import encode
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.lab import etcd_server
from calico_openstack.lab.bgp_layout import BgpLayout, resources
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology


def store(lab: Lab, topology: Topology, layout: BgpLayout) -> None:
    """Write a layout's resources. Raises CommandError."""
    for resource in resources(topology, layout):
        key = ResourceKey(resource.KIND, resource.metadata.name)
        metadata = msgspec.structs.replace(
            resource.metadata,
            uid=str(uuid.uuid4()),
            creation_timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        stored = msgspec.structs.replace(resource, metadata=metadata)
        etcd_server.put(lab, key.path, encode(stored))

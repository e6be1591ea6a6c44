"""Which packets a set of resources lets through, of all that workloads could send each other."""

from __future__ import annotations

from collections.abc import Mapping

from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Resource
from calico_openstack.policy.addresses import pack_prefix, unpack_address
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.evaluation import evaluate
from calico_openstack.policy.packet import Direction, Packet

PORTS = (80, 443)
OUTSIDE = ("198.51.100.7", "203.0.113.3")
_TCP = 6

Opening = tuple[str, str, str, str, int]
"""The port's id, the direction, its address and the other one, and the TCP port."""


def openings(resources: Mapping[ResourceKey, Resource | Invalid]) -> frozenset[Opening]:
    """Return what each endpoint lets in and out."""
    cluster = Cluster(resources, source_spoofing=True)
    addresses = {
        key: [prefix.network for prefix in map(pack_prefix, endpoint.spec.ip_networks)]
        for key, endpoint in cluster.endpoints.items()
    }
    others = {address for some in addresses.values() for address in some}
    others |= {pack_prefix(text).network for text in OUTSIDE}
    found: set[Opening] = set()
    for key, endpoint in cluster.endpoints.items():
        policy = cluster.policy_of(key)
        blocks = {each: cluster.block(each) for each in policy.blocks()}
        for own in addresses[key]:
            for other in others - {own}:
                for port in PORTS:
                    for direction in Direction:
                        ends = (other, own) if direction is Direction.INGRESS else (own, other)
                        packet = Packet(*ends, _TCP, 40000, port)
                        if evaluate(policy, blocks, direction, packet, cluster).allowed:
                            texts = (str(unpack_address(own)), str(unpack_address(other)))
                            found.add((endpoint.spec.endpoint, direction.value, *texts, port))
    return frozenset(found)

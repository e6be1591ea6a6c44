"""What is done to a packet besides allowing it: translation of its source, limits of an endpoint.

Only what the datastore tells; which parameters Felix has is taken to be the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calico_openstack.datamodel import Invalid, IPPool, QosControls, Resource, ResourceKey
from calico_openstack.policy.addresses import pack_prefix
from calico_openstack.policy.packet import Direction


def outgoing_translation(
    resources: Mapping[ResourceKey, Resource | Invalid], source: bytes, destination: bytes
) -> str:
    """Return why the source is translated on the way out of the cluster, "" if it is not."""
    pools = [value for value in resources.values() if isinstance(value, IPPool)]
    networks = {pool.metadata.name: pack_prefix(pool.spec.cidr) for pool in pools}
    if any(network.covers(destination) for network in networks.values()):
        return ""
    for pool in pools:
        if pool.spec.nat_outgoing and networks[pool.metadata.name].covers(source):
            return (
                f"IPPool {pool.metadata.name} says natOutgoing: outside of the pools the source is "
                "an address of the host"
            )
    return ""


def limits(controls: QosControls | None, direction: Direction) -> str:
    """Return the limits of an endpoint in one direction, "" if it has none."""
    if controls is None:
        return ""
    if direction is Direction.INGRESS:
        bandwidth, rate = controls.ingress_bandwidth, controls.ingress_packet_rate
        connections = controls.ingress_max_connections
    else:
        bandwidth, rate = controls.egress_bandwidth, controls.egress_packet_rate
        connections = controls.egress_max_connections
    parts = [
        f"{_scaled(bandwidth)}bit/s, more waits in a queue" if bandwidth else "",
        f"{rate} packets/s, more are dropped" if rate else "",
        f"{connections} connections, more are refused" if connections else "",
    ]
    found = [f"at most {part}" for part in _given(parts)]
    if controls.dscp is not None and direction is Direction.EGRESS:
        found.append(f"marked with DSCP {controls.dscp}")
    return "; ".join(found)


def _given(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if part]


def _scaled(number: int) -> str:
    for size, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:g} {prefix}"
    return f"{number} "

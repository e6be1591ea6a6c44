"""What the quality-of-service limits of an endpoint mean (specification sections 1.4 and 3.17).

Directions are the workload's: ingress is what it receives. Bandwidths go to the kernel's traffic
control, see `felix.kernel.qdiscs`; rates of packets and numbers of connections become rules, see
`limits`.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.policy.packet import Direction

DEFAULT_BURST_BITS: Final = 1 << 32
DEFAULT_PACKET_BURST: Final = 5
_BITS: Final = 8


class TokenBucket(Struct, frozen=True):
    """A limit of bandwidth: *rate* and *peak_rate* in bytes/s, *burst* and *peak_burst* in bytes.

    Without a *peak_rate* (0) a burst passes at the speed of the line. A *peak_burst* of 0 is one
    full frame of the interface.
    """

    rate: int
    burst: int
    peak_rate: int = 0
    peak_burst: int = 0


class Shaping(Struct, frozen=True):
    """The bandwidth limits of one interface, at least one of them."""

    ingress: TokenBucket | None = None
    egress: TokenBucket | None = None


class PacketRate(Struct, frozen=True):
    """At most *rate* packets a second, after *burst* of them at once."""

    rate: int
    burst: int


class PacketLimits(Struct, frozen=True):
    """What is limited by rules in one direction; None: no limit."""

    rate: PacketRate | None = None
    connections: int | None = None


NO_LIMITS: Final = PacketLimits()


def shaping_of(controls: QosControls | None) -> Shaping | None:
    """Return the bandwidth limits of an endpoint, None if it has none."""
    if controls is None:
        return None
    shaping = Shaping(
        ingress=_bucket(
            controls.ingress_bandwidth,
            controls.ingress_burst,
            controls.ingress_peakrate,
            controls.ingress_minburst,
        ),
        egress=_bucket(
            controls.egress_bandwidth,
            controls.egress_burst,
            controls.egress_peakrate,
            controls.egress_minburst,
        ),
    )
    return shaping if shaping.ingress or shaping.egress else None


def _bucket(
    bandwidth: int | None, burst: int | None, peak: int | None, minimum_burst: int | None
) -> TokenBucket | None:
    """Return a limit from bit/s, bits, bit/s and bytes; None without a bandwidth."""
    if not bandwidth:
        return None
    rate, peak_rate = bandwidth // _BITS, (peak or 0) // _BITS
    burst_bytes = (burst or DEFAULT_BURST_BITS) // _BITS
    if 0 < peak_rate <= rate:
        # The kernel refuses a peak that cannot be reached; the lower of the two is what counts.
        return TokenBucket(peak_rate, burst_bytes)
    if not peak_rate:
        return TokenBucket(rate, burst_bytes)
    return TokenBucket(rate, burst_bytes, peak_rate, minimum_burst or 0)


def packet_limits(controls: QosControls | None, direction: Direction) -> PacketLimits:
    """Return the limits of an endpoint that are rules, in one direction."""
    if controls is None:
        return NO_LIMITS
    if direction is Direction.INGRESS:
        rate, burst = controls.ingress_packet_rate, controls.ingress_packet_burst
        connections = controls.ingress_max_connections
    else:
        rate, burst = controls.egress_packet_rate, controls.egress_packet_burst
        connections = controls.egress_max_connections
    packet_rate = PacketRate(rate, burst or DEFAULT_PACKET_BURST) if rate else None
    return PacketLimits(packet_rate, connections or None)

"""What quality-of-service limits mean."""

from __future__ import annotations

import pytest

from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.felix.render.qos import (
    PacketLimits,
    PacketRate,
    Shaping,
    TokenBucket,
    packet_limits,
    shaping_of,
)
from calico_openstack.policy.packet import Direction

MEGABIT = 10**6
DEFAULT_BURST = 1 << 29


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (None, None),
        (QosControls(), None),
        (QosControls(ingress_bandwidth=0, egress_burst=5000), None),
        (
            QosControls(ingress_bandwidth=8 * MEGABIT),
            Shaping(ingress=TokenBucket(MEGABIT, DEFAULT_BURST)),
        ),
        (
            QosControls(egress_bandwidth=8 * MEGABIT, egress_burst=80_000),
            Shaping(egress=TokenBucket(MEGABIT, 10_000)),
        ),
        (
            QosControls(
                egress_bandwidth=8 * MEGABIT, egress_peakrate=16 * MEGABIT, egress_minburst=3000
            ),
            Shaping(egress=TokenBucket(MEGABIT, DEFAULT_BURST, 2 * MEGABIT, 3000)),
        ),
        # A peak at or below the bandwidth is what really limits.
        (
            QosControls(ingress_bandwidth=8 * MEGABIT, ingress_peakrate=8 * MEGABIT),
            Shaping(ingress=TokenBucket(MEGABIT, DEFAULT_BURST)),
        ),
        (
            QosControls(ingress_bandwidth=8 * MEGABIT, ingress_peakrate=4 * MEGABIT),
            Shaping(ingress=TokenBucket(MEGABIT // 2, DEFAULT_BURST)),
        ),
        # Without a bandwidth a peak means nothing.
        (QosControls(egress_peakrate=8 * MEGABIT), None),
    ],
)
def test_bandwidth(controls: QosControls | None, expected: Shaping | None) -> None:
    assert shaping_of(controls) == expected


@pytest.mark.parametrize(
    ("controls", "direction", "expected"),
    [
        (None, Direction.INGRESS, PacketLimits()),
        (QosControls(ingress_packet_burst=9), Direction.INGRESS, PacketLimits()),
        (
            QosControls(ingress_packet_rate=100),
            Direction.INGRESS,
            PacketLimits(PacketRate(100, 5)),
        ),
        (QosControls(ingress_packet_rate=100), Direction.EGRESS, PacketLimits()),
        (
            QosControls(egress_packet_rate=100, egress_packet_burst=20, egress_max_connections=3),
            Direction.EGRESS,
            PacketLimits(PacketRate(100, 20), 3),
        ),
        (QosControls(egress_max_connections=0), Direction.EGRESS, PacketLimits()),
    ],
)
def test_packets_and_connections(
    controls: QosControls | None, direction: Direction, expected: PacketLimits
) -> None:
    assert packet_limits(controls, direction) == expected

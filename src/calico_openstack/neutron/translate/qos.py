"""QoS rules and configured limits become the controls of an endpoint. Pure.

The numbers of the Networking API are kept as upstream's driver keeps them: ``max_burst_kbps`` is
a peak rate and no size of a burst, and bursts are configured for the whole cloud.
"""

from __future__ import annotations

from dataclasses import dataclass

from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.neutron.translate.facts import Problem, QosFacts, QosRuleFacts

INGRESS, EGRESS = "ingress", "egress"
BANDWIDTH_LIMIT = "bandwidth_limit"
PACKET_RATE_LIMIT = "packet_rate_limit"
DSCP_MARKING = "dscp_marking"

MAX_KPPS = 10
"""Readers take at most 10,000 packets/s; Neutron counts in thousands."""

_BANDWIDTH = (1_000, 10**15)
_PEAKRATE = (1_010, 1_010_000_000_000_000)
_PACKET_RATE = (1, 1000 * MAX_KPPS)
_CONNECTIONS = (1, 4_294_967_295)
_BURST = (1_000, 34_359_738_360)
_MINBURST = (1_000, 100_000_000)
_PACKET_BURST = (1, 10_000)

DEFAULT_BURST_BITS = 4_294_967_296
DEFAULT_BURST_PACKETS = 5


@dataclass(frozen=True, slots=True)
class DirectionLimits:
    """What is configured for one direction of every port; 0 is no limit or the default.

    ``connections`` is a number, ``burst`` in bits, ``minburst`` in bytes, ``packet_burst`` in
    packets.
    """

    connections: int = 0
    burst: int = DEFAULT_BURST_BITS
    minburst: int = 0
    packet_burst: int = DEFAULT_BURST_PACKETS


@dataclass(frozen=True, slots=True)
class Limits:
    """What is configured for every port, from the workload's point of view."""

    ingress: DirectionLimits = DirectionLimits()
    egress: DirectionLimits = DirectionLimits()


NO_LIMITS = Limits()


def qos_controls(qos: QosFacts, limits: Limits) -> QosControls | None:
    """Return an endpoint's controls, None for none."""
    ingress = _direction(qos, INGRESS, limits.ingress)
    egress = _direction(qos, EGRESS, limits.egress)
    controls = QosControls(
        ingress_bandwidth=ingress.bandwidth,
        ingress_burst=ingress.burst,
        ingress_peakrate=ingress.peakrate,
        ingress_minburst=ingress.minburst,
        ingress_packet_rate=ingress.packet_rate,
        ingress_packet_burst=ingress.packet_burst,
        ingress_max_connections=ingress.connections,
        egress_bandwidth=egress.bandwidth,
        egress_burst=egress.burst,
        egress_peakrate=egress.peakrate,
        egress_minburst=egress.minburst,
        egress_packet_rate=egress.packet_rate,
        egress_packet_burst=egress.packet_burst,
        egress_max_connections=egress.connections,
        dscp=next((rule.dscp_mark for rule in qos.rules if rule.kind == DSCP_MARKING), None),
    )
    return None if controls == QosControls() else controls


def qos_problems(port_id: str, qos: QosFacts) -> list[Problem]:
    """Return what cannot be honoured of a port's QoS policy."""
    return [
        Problem(f"port {port_id}", "qos_policy_id", reason)
        for rule in qos.rules
        if (reason := unsupported(rule)) is not None
    ]


def unsupported(rule: QosRuleFacts) -> str | None:
    """Return why a rule cannot be honoured, None where it can."""
    if rule.kind not in (BANDWIDTH_LIMIT, PACKET_RATE_LIMIT, DSCP_MARKING):
        return f"QoS rules of type {rule.kind} have no counterpart on a routed network"
    if rule.kind == PACKET_RATE_LIMIT and rule.maximum > MAX_KPPS:
        return f"a packet rate is at most {MAX_KPPS} kpps, not {rule.maximum}"
    if rule.kind == PACKET_RATE_LIMIT and rule.burst:
        return "a packet rate has no burst of its own"
    return None


@dataclass(frozen=True, slots=True)
class _Controls:
    bandwidth: int | None
    peakrate: int | None
    burst: int | None
    minburst: int | None
    packet_rate: int | None
    packet_burst: int | None
    connections: int | None


def _direction(qos: QosFacts, direction: str, limits: DirectionLimits) -> _Controls:
    bandwidth = peakrate = packet_rate = None
    for rule in qos.rules:
        if rule.direction != direction:
            continue
        if rule.kind == BANDWIDTH_LIMIT:
            bandwidth = _clipped(rule.maximum * 1000, _BANDWIDTH)
            peakrate = _clipped(rule.burst * 1000, _PEAKRATE)
        elif rule.kind == PACKET_RATE_LIMIT:
            packet_rate = _clipped(rule.maximum * 1000, _PACKET_RATE)
    return _Controls(
        bandwidth=bandwidth,
        peakrate=peakrate,
        burst=(_clipped(limits.burst, _BURST) or DEFAULT_BURST_BITS) if bandwidth else None,
        minburst=_clipped(limits.minburst, _MINBURST) if bandwidth and peakrate else None,
        packet_rate=packet_rate,
        packet_burst=(
            (_clipped(limits.packet_burst, _PACKET_BURST) or DEFAULT_BURST_PACKETS)
            if packet_rate
            else None
        ),
        connections=_clipped(limits.connections, _CONNECTIONS),
    )


def _clipped(value: int, bounds: tuple[int, int]) -> int | None:
    """Return a number within bounds, None for 0."""
    return min(max(value, bounds[0]), bounds[1]) if value else None

"""Ending established flows that policy no longer allows.

Established traffic is accepted before any policy is looked at, so a permission that is withdrawn
must also end the flows that it alone had allowed. Which ones is decided by the same evaluation that
explains verdicts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow
from calico_openstack.policy.evaluation import Judgement
from calico_openstack.policy.packet import Packet

# After a search, this many times its duration pass before the next one.
_PAUSE: Final = 4.0
_MAX_WITHDRAWALS: Final = 100
_PORT_PROTOCOLS = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite


def packet_of(flow: Flow) -> Packet:
    """Return the flow's first packet as policy saw it: after destination translation.

    Policy is enforced when forwarding: destinations have been translated by then, sources not yet.
    """
    first, reply = flow.original, flow.reply
    has_ports = first.protocol in _PORT_PROTOCOLS
    return Packet(
        source=first.source.packed,
        destination=reply.source.packed,
        protocol=first.protocol,
        source_port=first.source_port if has_ports else None,
        destination_port=reply.source_port if has_ports else None,
        icmp_type=first.icmp_type,
        icmp_code=first.icmp_code,
    )


def no_longer_allowed(
    flows: Iterable[Flow],
    withdrawals: Sequence[Withdrawal],
    host_addresses: frozenset[bytes],
    judge: Callable[[Packet], Judgement],
) -> Iterator[Flow]:
    """Yield those *flows* that a withdrawal concerns and that are not allowed now.

    Flows with this host itself are left out: they are not forwarded, and other rules apply.
    """
    for flow in flows:
        packet = packet_of(flow)
        if packet.source in host_addresses or packet.destination in host_addresses:
            continue
        if not any(each.concerns(packet.source, packet.destination) for each in withdrawals):
            continue
        if not judge(packet).allowed:
            yield flow


def end_flows(
    table: ConntrackTable,
    withdrawals: Sequence[Withdrawal],
    host_addresses: frozenset[bytes],
    judge: Callable[[Packet], Judgement],
) -> int:
    """Delete the flows that lost their permission; return how many. Raises OSError."""
    # Every flow that is meant names one of these; the fewer, the faster is the search.
    named = {ip_address(address) for each in withdrawals for address in _fewest(each)}
    flows = list(table.flows(named))
    return table.delete(no_longer_allowed(flows, withdrawals, host_addresses, judge))


class FlowEnding:
    """Remembers what was withdrawn until the flows that it concerns were judged.

    Looking for flows takes time in proportion to the size of the kernel's table. The first search
    comes at once; those that would follow too soon wait and become one, so that a burst of changes
    costs a fifth of the time at most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: list[Withdrawal] = []
        self._not_before = 0.0

    def add(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Take up what was withdrawn."""
        self._pending.extend(withdrawals)
        if len(self._pending) > _MAX_WITHDRAWALS:
            local = frozenset[bytes]().union(*(each.local for each in self._pending))
            self._pending = [Withdrawal(local)]

    def wait(self) -> float | None:
        """Return in how many seconds `end` should be called, None for not at all."""
        return max(0.0, self._not_before - self._clock()) if self._pending else None

    def end(
        self,
        table: ConntrackTable,
        host_addresses: frozenset[bytes],
        judge: Callable[[Packet], Judgement],
    ) -> int:
        """Delete the flows that lost their permission; return how many. Raises OSError.

        What is pending stays so until `settle`.
        """
        began = self._clock()
        try:
            return end_flows(table, self._pending, host_addresses, judge)
        finally:
            now = self._clock()
            self._not_before = now + _PAUSE * (now - began)

    def settle(self) -> None:
        """Forget what is pending: the rules that withdrew it are in force, the flows ended."""
        self._pending.clear()


def _fewest(withdrawal: Withdrawal) -> frozenset[bytes]:
    local, others = withdrawal.local, withdrawal.others
    return local if others is None or len(local) <= len(others) else others

"""Ending established flows that policy no longer allows.

Established traffic is accepted before any policy is looked at, so a permission that is withdrawn
must also end the flows that it alone had allowed. Which ones is decided by the same evaluation that
explains verdicts. The parts are pure; `flow_ending` puts them to work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.kernel.conntrack import Flow
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


def named_addresses(withdrawals: Iterable[Withdrawal]) -> set[IPv4Address | IPv6Address]:
    """Return addresses of which every flow that is meant names one; the fewer, the faster."""
    return {ip_address(address) for each in withdrawals for address in _fewest(each)}


def concerned(flows: Iterable[Flow], withdrawals: Sequence[Withdrawal]) -> Iterator[Flow]:
    """Yield those *flows* that a withdrawal concerns."""
    for flow in flows:
        source, destination = flow.original.source.packed, flow.reply.source.packed
        if any(each.concerns(source, destination) for each in withdrawals):
            yield flow


def no_longer_allowed(
    flows: Iterable[Flow],
    host_addresses: frozenset[bytes],
    judge: Callable[[Packet], Judgement],
) -> Iterator[Flow]:
    """Yield those *flows* that are not allowed now.

    Flows with this host itself are left out: they are not forwarded, and other rules apply.
    """
    for flow in flows:
        packet = packet_of(flow)
        if packet.source in host_addresses or packet.destination in host_addresses:
            continue
        if not judge(packet).allowed:
            yield flow


class PendingWithdrawals:
    """What was withdrawn, until the flows that it concerns were searched for.

    A search takes time in proportion to the size of the kernel's table. The first comes at once;
    those that would follow too soon wait and become one, so that a burst of changes costs a fifth
    of the time at most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pending: list[Withdrawal] = []
        self._not_before = 0.0

    def add(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Take up what was withdrawn, or searched for in vain."""
        self._pending.extend(withdrawals)
        if len(self._pending) > _MAX_WITHDRAWALS:
            local = frozenset[bytes]().union(*(each.local for each in self._pending))
            self._pending = [Withdrawal(local)]

    def wait(self) -> float | None:
        """Return in how many seconds to search, None for not at all."""
        return max(0.0, self._not_before - self._clock()) if self._pending else None

    def take(self) -> tuple[Withdrawal, ...]:
        """Return everything, and forget it."""
        taken = tuple(self._pending)
        self._pending.clear()
        return taken

    def searched(self, seconds: float, least: float = 0.0) -> None:
        """Note how long a search took that has just ended; the next is *least* seconds away."""
        self._not_before = self._clock() + max(least, _PAUSE * seconds)


def _fewest(withdrawal: Withdrawal) -> frozenset[bytes]:
    local, others = withdrawal.local, withdrawal.others
    return local if others is None or len(local) <= len(others) else others

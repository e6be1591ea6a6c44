"""Dropped packets, each with the reason: made from the steps of traced packets. Pure.

A packet is known by its number; its headers come with the first step at each hook. The rule that
drops it says why in its comment, and a chain of another table is named.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from calico_openstack.felix.kernel.packet_tracing import TracedStep
from calico_openstack.felix.render import names

_MOST_PACKETS: Final = 4096
_MOST_DROPS: Final = 2000
_PROTOCOLS: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP", 136: "UDPLite"}
_WITH_PORTS: Final = frozenset({6, 17, 132, 136})
_OUR_TABLES: Final = frozenset({"calico", "calico-arp"})
_TO_UNKNOWN: Final = "to an unknown"
# What decides, as the endpoint sees it, about packets that it receives.
_INGRESS: Final = ("in-", names.TO_WORKLOAD, "forward-in-", "untracked-in-", "pre-dnat-")


class Drop(Struct, frozen=True):
    """A packet that was dropped, *count* times so far; *number* grows with every new drop."""

    number: int
    time: float
    reason: str
    rule: str
    packet: str
    incoming: str
    outgoing: str
    direction: str
    count: int = 1

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two drops the same."""
        return self.reason, self.rule, self.packet, self.incoming, self.outgoing


class DropLog:
    """Collects drops. *comment* returns that of a step's rule."""

    def __init__(self, comment: Callable[[TracedStep], str]) -> None:
        self._comment = comment
        self._packets: OrderedDict[int, TracedStep] = OrderedDict()
        self._drops: deque[Drop] = deque(maxlen=_MOST_DROPS)
        self._number = 0

    def take(self, step: TracedStep, interfaces: Mapping[int, str], now: float) -> None:
        """Take up a step; *interfaces* are names by index, *now* seconds since 1970."""
        known = self._packets.pop(step.packet, None)
        if not step.network_header and known is not None:
            step = replace(
                step,
                version=known.version,
                network_header=known.network_header,
                transport_header=known.transport_header,
                incoming=known.incoming,
                outgoing=known.outgoing,
            )
        if not step.dropped:
            self._packets[step.packet] = step
            if len(self._packets) > _MOST_PACKETS:
                self._packets.popitem(last=False)
            return
        comment = self._comment(step)
        self._number += 1
        drop = Drop(
            number=self._number,
            time=now,
            reason=reason(step, comment),
            rule=comment or f"{step.table_name} {step.chain}",
            packet=packet_text(step.network_header, step.transport_header),
            incoming=interfaces.get(step.incoming, ""),
            outgoing=interfaces.get(step.outgoing, ""),
            direction=direction(step.chain, comment),
        )
        self._merge(drop)

    def _merge(self, drop: Drop) -> None:
        for known in self._drops:
            if known.identity == drop.identity:
                self._drops.remove(known)
                drop = replace(drop, count=known.count + 1)
                break
        self._drops.append(drop)

    def entries(self) -> Iterable[Drop]:
        """Return all drops that are remembered, the latest last."""
        return tuple(self._drops)

    def close(self) -> None:
        """Nothing is held open."""


def direction(chain: str, comment: str) -> str:
    """Return the direction, as an endpoint sees it, in which a rule of a chain drops packets."""
    is_ingress = chain.startswith(_INGRESS) or comment.startswith(_TO_UNKNOWN)
    return "ingress" if is_ingress else "egress"


def reason(step: TracedStep, comment: str) -> str:
    """Return in a word or two why a packet was dropped."""
    if step.table_name not in _OUR_TABLES:
        return "by others' rules"
    for beginning, word in (
        ("not the workload's source", "spoofed"),
        ("end of tier", "default deny"),
        ("no policy or profile", "no policy"),
        ("invalid to conntrack", "invalid"),
        ("packet rate", "rate"),
        ("connections", "connections"),
        ("from an unknown", "unknown interface"),
        (_TO_UNKNOWN, "unknown interface"),
        ("workloads may not", "to the host"),
        ("VXLAN", "tunnel"),
        ("IPIP", "tunnel"),
    ):
        if comment.startswith(beginning):
            return word
    policies = tuple(f"{kind}/" for kind in names.SHORT_KINDS.values())
    return "explicit deny" if comment.startswith(policies) else "other"


def packet_text(network: bytes, transport: bytes) -> str:
    """Return addresses, protocol and ports of a packet's headers, as far as they were told."""
    if len(network) >= 40 and network[0] >> 4 == 6:
        protocol, source, destination = network[6], network[8:24], network[24:40]
    elif len(network) >= 20:
        protocol, source, destination = network[9], network[12:16], network[16:20]
    else:
        return "a packet"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    text = f"{name} {ip_address(source)} -> {ip_address(destination)}"
    if protocol in _WITH_PORTS and len(transport) >= 4:
        text += f" port {int.from_bytes(transport[2:4], 'big')}"
    return text

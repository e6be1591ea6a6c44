"""Which packets are worth asking about: one of each kind that rules can tell apart. Pure.

Rules cut the ports of a protocol into spans, within which nothing can differ; one port stands for
each. The same goes for ICMP types, and for protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.protocols import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    PROTOCOL_NAMES,
)
from calico_openstack.policy.packet import Packet
from calico_openstack.policy.rules import PolicyRule

_EPHEMERAL: Final = 49152
_ECHO: Final = {4: (ICMP, 8), 6: (ICMPV6, 128)}
_TCP, _UDP = 6, 17
# A number for experiments (RFC 3692) stands for the protocols that no rule names.
_OTHER: Final = 253
_LAST_PORT: Final = 65535


class Kind(Struct, frozen=True, order=True):
    """A kind of packets: protocol, and a span of ports or an ICMP type, if it has any."""

    protocol: int
    first: int = -1
    last: int = -1

    def packet(self, source: bytes, destination: bytes) -> Packet:
        """Return a packet of this kind."""
        if self.protocol in (ICMP, ICMPV6):
            return Packet(source, destination, self.protocol, icmp_type=self.first, icmp_code=0)
        if self.first < 0:
            return Packet(source, destination, self.protocol)
        return Packet(source, destination, self.protocol, _EPHEMERAL, self.first)

    def __str__(self) -> str:
        name = PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.protocol == _OTHER:
            return "other protocols"
        if self.protocol in (ICMP, ICMPV6):
            return f"{name} type {self.first}"
        if self.first < 0:
            return name
        if (self.first, self.last) == (0, _LAST_PORT):
            return f"{name} all ports"
        if self.first == self.last:
            return f"{name} port {self.first}"
        return f"{name} ports {self.first}-{self.last}"


def kinds(rules: Iterable[PolicyRule], version: int) -> Iterator[Kind]:
    """Yield one kind for each that *rules* can tell apart in an IP version."""
    rules = list(rules)
    named = {rule.protocol for rule in rules} | {rule.not_protocol for rule in rules}
    numbers = {number for number in named if number is not None} | {_TCP, _UDP}
    icmp, echo = _ECHO[version]
    cuts = sorted(set(_cuts(rules)))
    for number in sorted(numbers - {ICMP, ICMPV6}):
        if number not in PORT_PROTOCOLS:
            yield Kind(number)
            continue
        for first, following in zip(cuts, [*cuts[1:], _LAST_PORT + 1], strict=True):
            yield Kind(number, first, following - 1)
    types = {echo}
    for rule in rules:
        types |= {each.type for each in (rule.icmp, rule.not_icmp) if each is not None}
    yield from (Kind(icmp, each, each) for each in sorted(types))
    yield Kind(_OTHER)


def _cuts(rules: Iterable[PolicyRule]) -> Iterator[int]:
    """Yield where spans of ports begin."""
    yield 0
    for rule in rules:
        for span in (*rule.destination.ports, *rule.destination.not_ports):
            yield span.first
            if span.last < _LAST_PORT:
                yield span.last + 1


def joined(found: Iterable[Kind]) -> list[Kind]:
    """Return kinds with spans that touch each other made one."""
    result: list[Kind] = []
    for kind in sorted(found):
        before = result[-1] if result else None
        if (
            before is not None
            and before.protocol == kind.protocol
            and kind.protocol not in (ICMP, ICMPV6)
            and before.last + 1 == kind.first
        ):
            result[-1] = Kind(kind.protocol, before.first, kind.last)
        else:
            result.append(kind)
    return result

"""Which packets are followed: how the kernel recognises them, and how we do. Pure.

Without a token these are all packets from some addresses to others. With one they are a probe and
what answers it: the token is the probe's source port or, of an ICMP echo, its identifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from ipaddress import ip_address
from typing import Final

from msgspec import Struct

from calico_openstack.felix.kernel.packet_tracing import BEFORE_ALL, TRACE_TABLES
from calico_openstack.felix.render.nft import (
    Chain,
    Compare,
    Expression,
    Family,
    Field,
    Hook,
    Limit,
    Rule,
    Table,
    TableState,
    Trace,
)

ICMP, ICMPV6 = 1, 58
ECHO_REQUEST: Final = {ICMP: 8, ICMPV6: 128}
ECHO_REPLY: Final = {ICMP: 0, ICMPV6: 129}
# Destination unreachable (RFC 792, RFC 4443).
UNREACHABLE: Final = {ICMP: 3, ICMPV6: 1}
NO_PORT: Final = "-"
_PER_SECOND: Final = 5
_TCP_FLAGS: Final = ((0x02, "SYN"), (0x10, "ACK"), (0x04, "RST"), (0x01, "FIN"))
_SADDR: Final = {Family.IP: Field.IP_SADDR, Family.IP6: Field.IP6_SADDR}
_DADDR: Final = {Family.IP: Field.IP_DADDR, Family.IP6: Field.IP6_DADDR}
_ICMP_TYPE: Final = {ICMP: Field.ICMP_TYPE, ICMPV6: Field.ICMPV6_TYPE}
_ICMP_ID: Final = {ICMP: Field.ICMP_ID, ICMPV6: Field.ICMPV6_ID}


class Way(Enum):
    """Whether a packet goes to the destination, or back to the source."""

    THERE = "there"
    BACK = "back"


class Headers(Struct, frozen=True):
    """Packed addresses, protocol, and the beginning of what is behind the IP header."""

    source: bytes
    destination: bytes
    protocol: int
    transport: bytes

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination port, of protocols that have some."""
        return int.from_bytes(self.transport[:2], "big"), int.from_bytes(self.transport[2:4], "big")


def headers_in(network: bytes, transport: bytes) -> Headers | None:
    """Return the headers of a packet, None for what is neither IPv4 nor IPv6.

    Of IPv6 only packets without extension headers are told apart by their protocol.
    """
    if len(network) >= 40 and network[0] >> 4 == 6:
        return Headers(network[8:24], network[24:40], network[6], transport)
    if len(network) >= 20 and network[0] >> 4 == 4:
        return Headers(network[12:16], network[16:20], network[9], transport)
    return None


class Followed(Struct, frozen=True):
    """Packets from *sources* to *destinations* (packed), of a protocol and maybe to a *port*."""

    sources: tuple[bytes, ...]
    destinations: tuple[bytes, ...]
    protocol: int
    port: int | None = None
    token: int | None = None

    def way_of(self, packet: Headers) -> Way | None:
        """Return which way a packet goes, None for one that is not followed."""
        there = packet.source in self.sources and packet.destination in self.destinations
        if self.token is None:
            return Way.THERE if there else None
        if there and self._is_of(packet, ECHO_REQUEST, (self.token, self.port)):
            return Way.THERE
        answers = _is_unreachable(packet) or (
            packet.source in self.destinations
            and self._is_of(packet, ECHO_REPLY, (self.port, self.token))
        )
        return Way.BACK if answers and packet.destination in self.sources else None

    def _is_of(
        self, packet: Headers, echo: Mapping[int, int], ports: tuple[int | None, int | None]
    ) -> bool:
        """Tell whether a packet is an *echo* (type by protocol), or has the probe's *ports*."""
        if packet.protocol != self.protocol:
            return False
        if self.protocol not in echo:
            return packet.ports == ports
        is_echo = packet.transport[:1] == bytes((echo[self.protocol],))
        return is_echo and packet.transport[4:6] == self.packed_token

    @property
    def packed_token(self) -> bytes:
        """The token as it is in packets."""
        return (self.token or 0).to_bytes(2, "big")


def followed_in(text: str) -> Followed:
    """Return what is asked for: sources, destinations, protocol, and maybe a port and a token.

    Addresses have commas between them, all else are numbers; a port may be "-", for none. Raises
    ValueError.
    """
    words = text.split()
    if not 3 <= len(words) <= 5:
        raise ValueError("say sources, destinations, the protocol's number, maybe port and token")
    sources, destinations = (
        tuple(ip_address(each).packed for each in part.split(",")) for part in words[:2]
    )
    port, token = [*words[3:], NO_PORT, NO_PORT][:2]
    protocol = _number(words[2], 0xFF)
    return Followed(sources, destinations, protocol, _port(port), _port(token))


def _port(text: str) -> int | None:
    return None if text == NO_PORT else _number(text, 0xFFFF)


def _number(text: str, highest: int) -> int:
    number = int(text)
    if not 0 <= number <= highest:
        raise ValueError(f"{text} is not a number up to {highest}")
    return number


def following(wanted: Followed) -> dict[Table, TableState]:
    """Return the tables that have packets traced, a few of each kind a second."""
    found = {}
    for table in TRACE_TABLES:
        matches = [*_there(wanted, table.family), *_back(wanted, table.family)]
        few = Limit(_PER_SECOND, 1, _PER_SECOND)
        rules = tuple(Rule((*match, few, Trace())) for match in matches)
        chain = Chain(rules, Hook("filter", "prerouting", BEFORE_ALL))
        found[table] = TableState(chains={"followed": chain})
    return found


def _there(wanted: Followed, family: Family) -> Iterator[list[Expression]]:
    for source, destination in _pairs(wanted, family):
        match: list[Expression] = [
            Compare(_SADDR[family], source),
            Compare(_DADDR[family], destination),
            Compare(Field.L4PROTO, bytes((wanted.protocol,))),
        ]
        if wanted.protocol not in ECHO_REQUEST:
            if wanted.port is not None:
                match.append(Compare(Field.TH_DPORT, wanted.port.to_bytes(2, "big")))
            if wanted.token is not None:
                match.append(Compare(Field.TH_SPORT, wanted.packed_token))
        elif wanted.token is not None:
            match += _echo(wanted, ECHO_REQUEST)
        yield match


def _back(wanted: Followed, family: Family) -> Iterator[list[Expression]]:
    if wanted.token is None:
        return
    icmp = ICMP if family is Family.IP else ICMPV6
    for source, destination in _pairs(wanted, family):
        match: list[Expression] = [
            Compare(_SADDR[family], destination),
            Compare(_DADDR[family], source),
            Compare(Field.L4PROTO, bytes((wanted.protocol,))),
        ]
        if wanted.protocol in ECHO_REPLY:
            match += _echo(wanted, ECHO_REPLY)
        else:
            match.append(Compare(Field.TH_DPORT, wanted.packed_token))
        yield match
        yield [
            Compare(_DADDR[family], source),
            Compare(Field.L4PROTO, bytes((icmp,))),
            Compare(_ICMP_TYPE[icmp], bytes((UNREACHABLE[icmp],))),
        ]


def _echo(wanted: Followed, kinds: dict[int, int]) -> list[Expression]:
    return [
        Compare(_ICMP_TYPE[wanted.protocol], bytes((kinds[wanted.protocol],))),
        Compare(_ICMP_ID[wanted.protocol], wanted.packed_token),
    ]


def _pairs(wanted: Followed, family: Family) -> Iterator[tuple[bytes, bytes]]:
    size = 4 if family is Family.IP else 16
    for source in wanted.sources:
        for destination in wanted.destinations:
            if len(source) == len(destination) == size:
                yield source, destination


def _is_unreachable(packet: Headers) -> bool:
    kind = UNREACHABLE.get(packet.protocol)
    return kind is not None and packet.transport[:1] == bytes((kind,))


def kind_of(packet: Headers) -> str:
    """Return what a packet is beside its addresses and ports, for those who know protocols."""
    if _is_unreachable(packet):
        return f"destination unreachable, code {packet.transport[1]}"
    if packet.protocol in ECHO_REQUEST and packet.transport:
        known = {ECHO_REQUEST[packet.protocol]: "echo request"}
        known[ECHO_REPLY[packet.protocol]] = "echo reply"
        return known.get(packet.transport[0], f"type {packet.transport[0]}")
    if packet.protocol == 6 and len(packet.transport) > 13:
        return "+".join(name for bit, name in _TCP_FLAGS if packet.transport[13] & bit)
    return ""

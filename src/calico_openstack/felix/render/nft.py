"""The nftables objects that Felix wants in the kernel, as plain data.

``render`` builds these values, ``kernel`` compares them with what is programmed and writes the
difference. Nothing here knows netlink; nothing here does I/O. Names follow nft(8).

A rule is a tuple of expressions, evaluated from left to right: matches first, then statements.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from enum import Enum, IntFlag
from ipaddress import IPv4Network, IPv6Network

from msgspec import Struct, field


class Family(Enum):
    """Address family of a table, as nft(8) names it."""

    IP = "ip"
    IP6 = "ip6"
    ARP = "arp"


class Table(Struct, frozen=True):
    """A table, named by its family and name."""

    family: Family
    name: str


class Field(Enum):
    """What a match or a set key looks at; the value is nft(8)'s spelling."""

    IIF = "meta iif"
    IIFNAME = "meta iifname"
    OIFNAME = "meta oifname"
    OIF = "meta oif"
    L4PROTO = "meta l4proto"
    MARK = "meta mark"
    IP_PROTOCOL = "ip protocol"
    IP_SADDR = "ip saddr"
    IP_DADDR = "ip daddr"
    IP6_SADDR = "ip6 saddr"
    IP6_DADDR = "ip6 daddr"
    TH_SPORT = "th sport"
    TH_DPORT = "th dport"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    ICMPV6_TYPE = "icmpv6 type"
    ICMPV6_CODE = "icmpv6 code"
    ICMP_ID = "icmp id"
    ICMPV6_ID = "icmpv6 id"
    ARP_OPERATION = "arp operation"
    ARP_SADDR_IP = "arp saddr ip"


class CtState(IntFlag):
    """Connection tracking states: the bits of NF_CT_STATE_BIT() in linux/netfilter."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8
    UNTRACKED = 64


# --- matches ----------------------------------------------------------------------------------


class Compare(Struct, frozen=True):
    """``field == value`` or, inverted, ``field != value``; *value* in network byte order.

    For interface names *value* is the name without padding; *prefix* matches every interface whose
    name begins with it (nft's ``"tap*"``).
    """

    field: Field
    value: bytes
    invert: bool = False
    prefix: bool = False


class InNetwork(Struct, frozen=True):
    """The address in *field* lies in *network*, or, inverted, outside of it."""

    field: Field
    network: IPv4Network | IPv6Network
    invert: bool = False


class InRange(Struct, frozen=True):
    """``low <= field <= high`` (both included, host integers), or the inverse."""

    field: Field
    low: int
    high: int
    invert: bool = False


class InSet(Struct, frozen=True):
    """The concatenation of *fields* is, or inverted is not, an element of the named set.

    With *prefix* only so many bits of the first field, an address, count; the others are zero.
    """

    fields: tuple[Field, ...]
    set_name: str
    invert: bool = False
    prefix: int | None = None


class MarkBits(Struct, frozen=True):
    """``meta mark & mask == value`` (or ``!=``); host integers."""

    mask: int
    value: int
    invert: bool = False


class CtStateIs(Struct, frozen=True):
    """The packet's conntrack state is one of *states*."""

    states: CtState
    invert: bool = False


class DestinationIsLocal(Struct, frozen=True):
    """``fib daddr type local``: the packet is for this host itself."""


class Limit(Struct, frozen=True):
    """Token bucket; with *over* it matches what exceeds the rate (nft ``limit rate over``)."""

    rate: int
    per_seconds: int
    burst: int
    over: bool = False


class MoreConnections(Struct, frozen=True):
    """More than *count* connections that met this rule are open (nft ``ct count over``).

    A rule counts for itself, the connection at hand included, and forgets when it is replaced. It
    is for first packets of connections only.
    """

    count: int


# --- statements -------------------------------------------------------------------------------


class Counter(Struct, frozen=True):
    """Counts packets and bytes; the counts survive a rule that did not change."""


class VerdictKind(Enum):
    """What ends or redirects evaluation."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


class Verdict(Struct, frozen=True):
    """A verdict; *chain* is set for JUMP and GOTO only."""

    kind: VerdictKind
    chain: str = ""


ACCEPT = Verdict(VerdictKind.ACCEPT)
DROP = Verdict(VerdictKind.DROP)
RETURN = Verdict(VerdictKind.RETURN)


class VerdictMap(Struct, frozen=True):
    """``fields vmap @map_name``: the verdict of the element; no element, no effect."""

    fields: tuple[Field, ...]
    map_name: str


class SetMark(Struct, frozen=True):
    """``meta mark = (mark & ~mask) | value``; host integers."""

    mask: int
    value: int


class SetDscp(Struct, frozen=True):
    """Write *value*, 0 to 63, to the differentiated services code point (``ip dscp set``)."""

    value: int


class Untrack(Struct, frozen=True):
    """The packet is not tracked; for chains before connection tracking (nft ``notrack``)."""


class Trace(Struct, frozen=True):
    """The kernel tells who listens of every rule that the packet meets (``meta nftrace set 1``)."""


class OffloadFlow(Struct, frozen=True):
    """Let the next packets of the flow by before any rule: ``flow add @flowtable``.

    Where that is not possible (neither TCP nor UDP, or a TCP connection that is about to end) the
    next rule follows, as it does for the packet at hand in any case.
    """

    flowtable: str


class Log(Struct, frozen=True):
    """A kernel log line at level info, or, with *group*, a copy to that NFLOG group."""

    prefix: str
    group: int | None = None


class Reject(Struct, frozen=True):
    """Refuse with an ICMP error (port unreachable), or *tcp_reset* for TCP only."""

    tcp_reset: bool = False


class DestinationNat(Struct, frozen=True):
    """Rewrite the destination to *address* (4 or 16 bytes) and, when given, *port*."""

    address: bytes
    port: int | None = None


class NatKind(Enum):
    """Which end of a packet is translated; the value is nft(8)'s statement."""

    SOURCE = "snat"
    DESTINATION = "dnat"


class RewriteTcp(Struct, frozen=True):
    """Write an address (IPv4) and a port into a TCP packet, whatever connection tracking knows.

    ``ip saddr set address tcp sport set port``, or the same for the destination.
    """

    kind: NatKind
    address: bytes
    port: int


class NatMap(Struct, frozen=True):
    """``dnat to fields map @map_name``: to the element's address; no element, no effect."""

    kind: NatKind
    fields: tuple[Field, ...]
    map_name: str


class SourceNat(Struct, frozen=True):
    """Rewrite the source to *address*, or without one to that of the outgoing interface.

    That is, nft's ``snat`` or ``masquerade``. *ports* are the first and the last one to choose
    from, both included, for protocols with ports only. Ports are chosen at random, so that many
    flows at once do not run into each other.
    """

    address: bytes | None = None
    ports: tuple[int, int] | None = None


Expression = (
    Compare
    | InNetwork
    | InRange
    | InSet
    | MarkBits
    | CtStateIs
    | DestinationIsLocal
    | Limit
    | MoreConnections
    | Counter
    | Verdict
    | VerdictMap
    | SetMark
    | Untrack
    | SetDscp
    | Trace
    | OffloadFlow
    | Log
    | Reject
    | DestinationNat
    | RewriteTcp
    | NatMap
    | SourceNat
)


class Rule(Struct, frozen=True):
    """One rule; *comment* says which resource made it (provenance, shown by ``nft list``)."""

    expressions: tuple[Expression, ...]
    comment: str = ""


class Hook(Struct, frozen=True):
    """What makes a chain a base chain. The policy is always accept: see nftables(8)."""

    type: str  # filter, nat or route
    hook: str  # prerouting, input, forward, output or postrouting
    priority: int


class Chain(Struct, frozen=True):
    """A chain with all of its rules."""

    rules: tuple[Rule, ...]
    hook: Hook | None = None

    def rule_hashes(self, name: str) -> tuple[str, ...]:
        """Return one 16-character hash a rule, each depending on all the rules before it.

        Written into the rule's user data, so that a read-back compares by hashes alone and a rule
        that somebody else inserted shows as a mismatch (specification section 7.5).
        """
        digest = hashlib.sha224(f"{name}|{self.hook}".encode())
        hashes = []
        for rule in self.rules:
            digest.update(repr(rule).encode())
            hashes.append(urlsafe_b64encode(digest.digest()).decode()[:16])
        return tuple(hashes)


class KeyType(Enum):
    """One component of a set's key; the value is nft(8)'s data type.

    INTERFACE, which comes first where it is used, is an interface by its index in the kernel, which
    is quicker to look up than its name. Here it is stated by the name, as IFNAME is.
    """

    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    PROTOCOL = "inet_proto"
    PORT = "inet_service"
    IFNAME = "ifname"
    INTERFACE = "iface_index"


class Set(Struct, frozen=True):
    """A named set; with *verdicts* a verdict map, with *data* a map to values of that type.

    *interval* sets hold ranges; all others hold exact keys. A set for at most *size*
    elements is quicker to look into than one that grows (0). Elements live apart, see `Ruleset`.
    """

    key: tuple[KeyType, ...]
    interval: bool = False
    verdicts: bool = False
    data: KeyType | None = None
    size: int = 0


class Range(Struct, frozen=True):
    """An element of an interval set: first and last key, both included, network order.

    Of a concatenation, the last component alone may differ.
    """

    first: bytes
    last: bytes


# An exact key is its components in network byte order, each padded to a multiple of four bytes;
# interface names are 16 bytes, padded with zeros (nftables' own register layout).
Element = bytes | Range


def interface_key(name: str) -> bytes:
    """Return an interface's name as a component of a key."""
    return name.encode().ljust(16, b"\0")


# What an element of a map leads to: a verdict, or data as bytes in network byte order.
ElementValue = Verdict | bytes | None
Elements = Mapping[Element, ElementValue]


class TableState(Struct):
    """All that should be, or is, in one table: sets and chains by name, elements by set name.

    Flowtables are names only: which interfaces they cover depends on which there are.
    """

    sets: dict[str, Set] = field(default_factory=dict)
    elements: dict[str, dict[Element, ElementValue]] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    flowtables: set[str] = field(default_factory=set)


Ruleset = dict[Table, TableState]

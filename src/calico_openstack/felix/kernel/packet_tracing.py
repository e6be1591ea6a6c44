"""Following packets through the rules of all tables, by the kernel's own tracing.

A table of its own marks packets to be traced (``meta nftrace``); the kernel then tells of every
rule that such a packet meets, in any table, and of the verdict (enum nft_trace_attributes in
linux/netfilter/nf_tables.h). Nothing of Felix's own rules changes for it, and without the table
nothing of it costs anything.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Final

from msgspec import Struct

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import NftMessage, RuleAttribute
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import (
    Chain,
    Compare,
    CtState,
    CtStateIs,
    Family,
    Field,
    Hook,
    Limit,
    Rule,
    Table,
    TableState,
    Trace,
)
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NetlinkSocket,
    attribute_string,
    attributes,
    be32,
    string,
)

DROP_TABLES: Final = (Table(Family.IP, "calico-drops"), Table(Family.IP6, "calico-drops"))
TRACE_TABLES: Final = (Table(Family.IP, "calico-trace"), Table(Family.IP6, "calico-trace"))
"""Each watch has tables of its own, so that they do not end each other."""

Tables = tuple[Table, ...]
_SUBSYSTEM: Final = nft.NFNL_SUBSYS_NFTABLES << 8
# Before our own raw-prerouting (-300), and after connection tracking (-200).
BEFORE_ALL: Final = -301
_AFTER_TRACKING: Final = -150
_NEW_PER_SECOND: Final = 200
_ALL_PER_SECOND: Final = 50
_NF_DROP, _NF_ACCEPT = 0, 1
_TYPE_POLICY = 1
# enum nft_verdicts: negative numbers, of which the kernel tells the low 32 bits.
_VERDICTS: Final = {
    None: "",
    _NF_DROP: "drop",
    _NF_ACCEPT: "accept",
    0xFFFFFFFF: "continue",
    0xFFFFFFFD: "jump",
    0xFFFFFFFC: "goto",
    0xFFFFFFFB: "return",
}


class _TraceAttribute(IntEnum):
    TABLE = 1
    CHAIN = 2
    RULE_HANDLE = 3
    TYPE = 4
    VERDICT = 5
    ID = 6
    NETWORK_HEADER = 8
    TRANSPORT_HEADER = 9
    IIF = 10
    OIF = 12
    POLICY = 16


class TracedStep(Struct, frozen=True):
    """One rule that a packet met, or the policy of a chain (*handle* 0) at its end.

    *packet* tells packets apart, *verdict* is as nft(8) calls it. Headers and interfaces (indexes)
    are told once for each hook. *family* is the kernel's number of the table's family, *table* None
    where that is none of ours.
    """

    packet: int
    table: Table | None
    table_name: str
    chain: str
    handle: int
    dropped: bool
    accepted: bool
    verdict: str = ""
    version: int = 0
    network_header: bytes = b""
    transport_header: bytes = b""
    incoming: int = 0
    outgoing: int = 0
    family: int = 0


def parsed_step(body: bytes) -> TracedStep:
    """Return the step of a TRACE message."""
    found = attributes(body, nft.NFGENMSG.size)
    number = nft.NFGENMSG.unpack_from(body)[0]
    family = nft.FAMILY_BY_NUMBER.get(number)
    table_name = string(found.get(_TraceAttribute.TABLE, b""))
    kind = be32(found.get(_TraceAttribute.TYPE, b""))
    verdict = attributes(found.get(_TraceAttribute.VERDICT, b""))
    code = be32(verdict[nft.VERDICT_CODE]) if nft.VERDICT_CODE in verdict else None
    if kind == _TYPE_POLICY and _TraceAttribute.POLICY in found:
        code = be32(found[_TraceAttribute.POLICY])
    header = found.get(_TraceAttribute.NETWORK_HEADER, b"")
    return TracedStep(
        packet=be32(found.get(_TraceAttribute.ID, b"")),
        table=Table(family, table_name) if family else None,
        table_name=table_name,
        chain=string(found.get(_TraceAttribute.CHAIN, b"")),
        handle=int.from_bytes(found.get(_TraceAttribute.RULE_HANDLE, b""), "big"),
        dropped=code == _NF_DROP,
        accepted=code == _NF_ACCEPT,
        verdict=f"{_VERDICTS.get(code, '')} {string(verdict.get(nft.VERDICT_CHAIN, b''))}".strip(),
        version=header[0] >> 4 if header else 0,
        network_header=header,
        transport_header=found.get(_TraceAttribute.TRANSPORT_HEADER, b""),
        incoming=be32(found.get(_TraceAttribute.IIF, b"")),
        outgoing=be32(found.get(_TraceAttribute.OIF, b"")),
        family=number,
    )


def sampling(prefixes: Sequence[str]) -> dict[Table, TableState]:
    """Return the tables that have a limited number of packets traced.

    First packets of connections and what conntrack calls invalid, and of what interfaces with
    *prefixes* send, known or not, a sample: senders of foreign addresses are dropped before
    conntrack sees them.
    """
    suspicious = CtStateIs(CtState.NEW | CtState.INVALID | CtState.UNTRACKED)
    some = Limit(_NEW_PER_SECOND, 1, _NEW_PER_SECOND)
    few = Limit(_ALL_PER_SECOND, 1, _ALL_PER_SECOND)
    sent = [
        Rule((Compare(Field.IIFNAME, prefix.encode(), prefix=True), few, Trace()))
        for prefix in prefixes
    ]
    chains = {
        "sent": Chain(tuple(sent), Hook("filter", "prerouting", BEFORE_ALL)),
        "suspicious": Chain(
            (Rule((suspicious, some, Trace())),), Hook("filter", "prerouting", _AFTER_TRACKING)
        ),
    }
    return {table: TableState(chains=chains) for table in DROP_TABLES}


class PacketTracing:
    """Traces what *states* say, from its making until it is closed. Raises OSError."""

    def __init__(self, states: Mapping[Table, TableState]) -> None:
        self._tables = tuple(states)
        self._driver = NftDriver(self._tables)
        self._socket = NetlinkSocket(NETLINK_NETFILTER, groups=(nft.NFNLGRP_NFTRACE,))
        self._rules: dict[tuple[int, str, str], dict[int, str]] = {}
        try:
            self._driver.apply(dict(states), {table: TableDelta() for table in self._tables})
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Trace no more, and leave nothing behind."""
        self._socket.close()
        self._driver.close()
        remove_tracing(self._tables)

    def steps(self, timeout: float) -> Iterator[TracedStep]:
        """Yield the steps that came, waiting *timeout* seconds for the first of them."""
        if not select.select([self._socket.fileno()], [], [], timeout)[0]:
            return
        for received in self._socket.notifications():
            # Where more came than was read some packets are not followed to their end.
            if received is not None and received.kind == _SUBSYSTEM | NftMessage.TRACE:
                yield parsed_step(received.body)

    def comment(self, step: TracedStep) -> str:
        """Return the comment of the rule of a step, "" if it has none or is gone."""
        return self._rules_of(step).get(step.handle, "")

    def position(self, step: TracedStep) -> int | None:
        """Return where in its chain the rule of a step is, None if it is gone or none."""
        handles = list(self._rules_of(step))
        return handles.index(step.handle) if step.handle in handles else None

    def _rules_of(self, step: TracedStep) -> Mapping[int, str]:
        """Return the comments of the rules of a step's chain, in order, by their handles."""
        if not step.handle:
            return {}
        place = step.family, step.table_name, step.chain
        if step.handle not in self._rules.get(place, {}):
            self._rules[place] = dict(self._read(*place))
        return self._rules[place]

    def _read(self, family: int, table: str, chain: str) -> Iterable[tuple[int, str]]:
        socket = NetlinkSocket(NETLINK_NETFILTER)
        try:
            body = (
                nft.NFGENMSG.pack(family, 0, 0)
                + attribute_string(RuleAttribute.TABLE, table)
                + attribute_string(RuleAttribute.CHAIN, chain)
            )
            for answer in socket.dump(_SUBSYSTEM | NftMessage.GETRULE, body):
                found = attributes(answer.body, nft.NFGENMSG.size)
                if string(found.get(RuleAttribute.CHAIN, b"")) == chain:
                    handle = int.from_bytes(found.get(RuleAttribute.HANDLE, b""), "big")
                    yield handle, rule_comment(found.get(RuleAttribute.USERDATA, b""))
        finally:
            socket.close()


def remove_tracing(tables: Tables = (*DROP_TABLES, *TRACE_TABLES)) -> None:
    """Remove tables of traces, whoever made them; raises OSError."""
    driver = NftDriver(tables)
    try:
        driver.apply({}, {table: TableDelta() for table in tables})
    finally:
        driver.close()


def rule_comment(userdata: bytes) -> str:
    """Return the comment in a rule's user data, of ours without the hash in front of it."""
    if len(userdata) < 2 or userdata[0]:
        return ""
    text = userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode(errors="replace")
    _, semicolon, comment = text.partition(";")
    return comment.strip() if semicolon else text

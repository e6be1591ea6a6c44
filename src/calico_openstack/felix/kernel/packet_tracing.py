"""Following packets through the rules of all tables, by the kernel's own tracing.

A table of its own marks packets to be traced (``meta nftrace``); the kernel then tells of every
rule that such a packet meets, in any table, and of the verdict (enum nft_trace_attributes in
linux/netfilter/nf_tables.h). Nothing of Felix's own rules changes for it, and without the table
nothing of it costs anything.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Iterable, Iterator, Sequence
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
    split,
    string,
)

TRACE_TABLES: Final = (Table(Family.IP, "calico-trace"), Table(Family.IP6, "calico-trace"))
_SUBSYSTEM: Final = nft.NFNL_SUBSYS_NFTABLES << 8
# Before our own raw-prerouting (-300), and after connection tracking (-200).
_BEFORE_ALL, _AFTER_TRACKING = -301, -150
_NEW_PER_SECOND: Final = 200
_ALL_PER_SECOND: Final = 50
_NF_DROP, _NF_ACCEPT = 0, 1
_TYPE_POLICY, _TYPE_RULE = 1, 3


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

    *packet* tells packets apart. Headers and interfaces (indexes) are told once for each hook.
    """

    packet: int
    table: Table | None
    table_name: str
    chain: str
    handle: int
    dropped: bool
    accepted: bool
    version: int = 0
    network_header: bytes = b""
    transport_header: bytes = b""
    incoming: int = 0
    outgoing: int = 0


def parsed_step(body: bytes) -> TracedStep:
    """Return the step of a TRACE message."""
    found = attributes(body, nft.NFGENMSG.size)
    family = nft.FAMILY_BY_NUMBER.get(nft.NFGENMSG.unpack_from(body)[0])
    table_name = string(found.get(_TraceAttribute.TABLE, b""))
    kind = be32(found.get(_TraceAttribute.TYPE, b""))
    verdict = attributes(found.get(_TraceAttribute.VERDICT, b"")).get(nft.VERDICT_CODE)
    code = be32(verdict) if verdict else None
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
        version=header[0] >> 4 if header else 0,
        network_header=header,
        transport_header=found.get(_TraceAttribute.TRANSPORT_HEADER, b""),
        incoming=be32(found.get(_TraceAttribute.IIF, b"")),
        outgoing=be32(found.get(_TraceAttribute.OIF, b"")),
    )


def sampling(prefixes: Sequence[str]) -> TableState:
    """Return the table that has a limited number of packets traced.

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
    return TableState(
        chains={
            "sent": Chain(tuple(sent), Hook("filter", "prerouting", _BEFORE_ALL)),
            "suspicious": Chain(
                (Rule((suspicious, some, Trace())),), Hook("filter", "prerouting", _AFTER_TRACKING)
            ),
        }
    )


class PacketTracing:
    """Traces what *state* says, from its making until it is closed. Raises OSError."""

    def __init__(self, state: TableState) -> None:
        self._driver = NftDriver(TRACE_TABLES)
        self._socket = NetlinkSocket(NETLINK_NETFILTER, groups=(nft.NFNLGRP_NFTRACE,))
        self._rules: dict[tuple[Table, str], dict[int, str]] = {}
        desired = dict.fromkeys(TRACE_TABLES, state)
        try:
            self._driver.apply(desired, {table: TableDelta() for table in TRACE_TABLES})
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Trace no more, and leave nothing behind."""
        self._socket.close()
        self._driver.close()
        remove_tracing()

    def steps(self, timeout: float) -> Iterator[TracedStep]:
        """Yield the steps that came, waiting *timeout* seconds for the first of them."""
        if not select.select([self._socket.fileno()], [], [], timeout)[0]:
            return
        while True:
            try:
                data = self._socket.receive()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # more came than was read: some packets are not followed to their end
            if data is None:
                return
            for received in split(data):
                if received.kind == _SUBSYSTEM | NftMessage.TRACE:
                    yield parsed_step(received.body)

    def comment(self, step: TracedStep) -> str:
        """Return the comment of the rule of a step, "" if it has none or is gone."""
        if step.table is None or not step.handle:
            return ""
        place = step.table, step.chain
        if step.handle not in self._rules.get(place, {}):
            self._rules[place] = dict(self._read(*place))
        return self._rules[place].get(step.handle, "")

    def _read(self, table: Table, chain: str) -> Iterable[tuple[int, str]]:
        socket = NetlinkSocket(NETLINK_NETFILTER)
        try:
            body = (
                nft.NFGENMSG.pack(nft.FAMILY_NUMBER[table.family], 0, 0)
                + attribute_string(RuleAttribute.TABLE, table.name)
                + attribute_string(RuleAttribute.CHAIN, chain)
            )
            for answer in socket.dump(_SUBSYSTEM | NftMessage.GETRULE, body):
                found = attributes(answer.body, nft.NFGENMSG.size)
                if string(found.get(RuleAttribute.CHAIN, b"")) == chain:
                    handle = int.from_bytes(found.get(RuleAttribute.HANDLE, b""), "big")
                    yield handle, rule_comment(found.get(RuleAttribute.USERDATA, b""))
        finally:
            socket.close()


def remove_tracing() -> None:
    """Remove the tables of traces, whoever made them; raises OSError."""
    driver = NftDriver(TRACE_TABLES)
    try:
        driver.apply({}, {table: TableDelta() for table in TRACE_TABLES})
    finally:
        driver.close()


def rule_comment(userdata: bytes) -> str:
    """Return the comment in a rule's user data, of ours without the hash in front of it."""
    if len(userdata) < 2 or userdata[0]:
        return ""
    text = userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode(errors="replace")
    _, semicolon, comment = text.partition(";")
    return comment.strip() if semicolon else text

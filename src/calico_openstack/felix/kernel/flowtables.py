"""Which interfaces our flowtables cover, and whether the kernel has flowtables at all.

A flowtable names interfaces, which must be there: it follows the workload interfaces, and those of
the host that a pattern matches, as they come and go. That a flowtable is there, and the rule that
fills it, is the business of the tables' own transaction.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from msgspec import Struct, field

from calico_openstack.felix.kernel import nft_messages
from calico_openstack.felix.kernel.nft_constants import (
    NFNL_MSG_BATCH_BEGIN,
    NFNL_MSG_BATCH_END,
    NftMessage,
)
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render import names
from calico_openstack.felix.render.nft import Chain, Family, OffloadFlow, Rule, Table
from calico_openstack.netlink.protocol import NETLINK_NETFILTER, NLM_F_CREATE, NetlinkSocket

_PROBE = "calico-probe"


class Coverage(Struct, frozen=True):
    """How many interfaces a table's flowtable covers, and how many it should cover and does not."""

    covered: int = 0
    missing: int = 0


class FlowtableDriver(Struct):
    """Keeps the flowtables of *nft*'s tables over the interfaces that they should cover.

    *host_interfaces* is a regular expression, searched for in the names of the host's own
    interfaces; empty for none.
    """

    nft: NftDriver
    host_interfaces: str = ""
    coverage: dict[Table, Coverage] = field(default_factory=dict)
    # How often tables had been read and made when this last looked: then they may differ.
    _seen: tuple[int, int] = (-1, -1)
    _stale: bool = True

    def changed(self) -> None:
        """Look again with the next `apply`: an interface came or went, or another is wanted."""
        self._stale = True

    def apply(
        self, tables: Iterable[Table], wanted: Collection[str], present: Collection[str]
    ) -> None:
        """Cover those of the *wanted* interfaces, and of the host's, that are *present*.

        *tables* are those that have a flowtable. Raises OSError; it is then tried again.
        """
        seen = (self.nft.statistics.list_calls, self.nft.creations)
        if not self._stale and seen == self._seen:
            return
        devices = set(wanted) & set(present)
        if self.host_interfaces:
            pattern = re.compile(self.host_interfaces)
            devices |= {name for name in present if pattern.search(name)}
        absent = len(set(wanted) - devices)
        self.coverage.clear()
        for table in tables:
            missing = self.nft.cover(table, names.FLOWTABLE, devices)
            self.coverage[table] = Coverage(len(devices) - len(missing), absent + len(missing))
        self._stale, self._seen = False, seen


def has_flowtables() -> bool:
    """Tell whether the kernel has flowtables and can fill them by a rule.

    Asks for a table with both and for its removal in one transaction, which leaves nothing behind.
    """
    table = Table(Family.IP, _PROBE)
    chain = Chain((Rule((OffloadFlow(_PROBE),)),))
    (rule,) = nft_messages.encode_rules(table, _PROBE, chain, chain.rule_hashes(_PROBE))
    messages = [nft_messages.batch_edge(NFNL_MSG_BATCH_BEGIN)]
    for number, (kind, body) in enumerate(
        (
            (NftMessage.NEWTABLE, nft_messages.encode_table(table)),
            (NftMessage.NEWFLOWTABLE, nft_messages.encode_flowtable(table, _PROBE)),
            (NftMessage.NEWCHAIN, nft_messages.encode_chain(table, _PROBE, None)),
            (NftMessage.NEWRULE, rule),
            (NftMessage.DELTABLE, nft_messages.encode_table(table)),
        ),
        start=1,
    ):
        flags = 0 if kind is NftMessage.DELTABLE else NLM_F_CREATE
        messages.append(nft_messages.request(kind, flags, number, table.family, body))
    messages.append(nft_messages.batch_edge(NFNL_MSG_BATCH_END))
    socket = NetlinkSocket(NETLINK_NETFILTER)
    try:
        return not socket.exchange([b"".join(messages)])
    except OSError:
        return False
    finally:
        socket.close()

"""Base chains of others: what they drop, our accept does not bring back.

A packet passes the chains of every table at a hook, and each may drop it (nftables(8)). A policy of
drop, as Docker gives to the forward chain of iptables, therefore cuts all workloads off.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import ChainAttribute, HookAttribute, NftMessage
from calico_openstack.felix.render.nft import Table
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NetlinkSocket,
    attributes,
    be32,
    string,
)

_SUBSYSTEM = nft.NFNL_SUBSYS_NFTABLES << 8
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
# enum nf_inet_hooks, the same numbers for the families whose packets workloads send.
_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}
_ROUTED = frozenset({"inet", "ip", "ip6"})
_DROP = 0


class ForeignChain(Struct, frozen=True):
    """A base chain that is not ours; *rules* and references to it are counted in *uses*."""

    family: str
    table: str
    chain: str
    hook: str
    drops: bool
    uses: int

    def __str__(self) -> str:
        policy = "drop" if self.drops else "accept"
        return f"{self.family} {self.table} {self.chain} (hook {self.hook}, policy {policy})"


def foreign_chains(own: Collection[Table]) -> list[ForeignChain]:
    """Return the base chains of routed packets in tables that are not *own*; raises OSError."""
    ours = {(table.family.value, table.name) for table in own}
    socket = NetlinkSocket(NETLINK_NETFILTER)
    try:
        answers = socket.dump(_SUBSYSTEM | NftMessage.GETCHAIN, nft.NFGENMSG.pack(0, 0, 0))
    finally:
        socket.close()
    found = []
    for answer in answers:
        chain = parsed(answer.body)
        if chain and (chain.family, chain.table) not in ours and chain.family in _ROUTED:
            found.append(chain)
    return found


def parsed(body: bytes) -> ForeignChain | None:
    """Return the base chain of an answer, None for a chain without a hook."""
    family = nft.NFGENMSG.unpack_from(body)[0]
    found = attributes(body, nft.NFGENMSG.size)
    if ChainAttribute.HOOK not in found:
        return None
    hook = be32(attributes(found[ChainAttribute.HOOK]).get(HookAttribute.HOOKNUM, b""))
    return ForeignChain(
        family=_FAMILIES.get(family, str(family)),
        table=string(found.get(ChainAttribute.TABLE, b"")),
        chain=string(found.get(ChainAttribute.NAME, b"")),
        hook=_HOOKS.get(hook, str(hook)),
        drops=be32(found.get(ChainAttribute.POLICY, b"\0\0\0\1")) == _DROP,
        uses=be32(found.get(ChainAttribute.USE, b"")),
    )

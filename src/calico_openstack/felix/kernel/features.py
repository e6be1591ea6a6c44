"""Whether the kernel can do what Felix may ask of it, found out by asking.

A transaction of nf_tables that does not come to its end is judged and forgotten: nothing is ever
there, nobody is notified, and the kernel loads the modules that it has. Disciplines of traffic
control cannot be tried like that; whether their modules exist is looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from calico_openstack.agent.system import System
from calico_openstack.felix.kernel import nft_messages
from calico_openstack.felix.kernel.flowtables import has_flowtables
from calico_openstack.felix.kernel.nft_constants import (
    NFGENMSG,
    NFNL_MSG_BATCH_BEGIN,
    NftMessage,
)
from calico_openstack.felix.render.nft import (
    Chain,
    Counter,
    CtState,
    CtStateIs,
    DestinationIsLocal,
    DestinationNat,
    Expression,
    Family,
    Hook,
    Limit,
    Log,
    MoreConnections,
    OffloadFlow,
    Reject,
    Rule,
    SourceNat,
    Table,
)
from calico_openstack.netlink.protocol import (
    NETLINK_NETFILTER,
    NLM_F_CREATE,
    NetlinkError,
    NetlinkSocket,
)

_PROBE: Final = "calico-probe"
_FORWARD: Final = Hook("filter", "forward", 0)
_DESTINATIONS: Final = Hook("nat", "prerouting", -100)
_SOURCES: Final = Hook("nat", "postrouting", 100)
# IPCTNL_MSG_CT_GET_STATS_CPU of the connection tracking subsystem.
_CONNTRACK_STATISTICS: Final = (1 << 8) | 4


class Feature(Struct, frozen=True):
    """Something that Felix may ask of the kernel: *what* it is for, and the modules it takes.

    *expressions* are of a rule that needs it, in a chain at *hook*. Without *expressions* modules
    are looked up by name and option of the kernel's configuration. It is needed *always*, or where
    somebody uses it; what is *optional* is used where it is there.
    """

    name: str
    what: str
    modules: tuple[tuple[str, str], ...]
    expressions: tuple[Expression, ...] = ()
    hook: Hook = _FORWARD
    always: bool = False
    optional: bool = False


FEATURES: Final = (
    Feature(
        "rules", "everything", (("nf_tables", "NF_TABLES"),), expressions=(Counter(),), always=True
    ),
    Feature(
        "states of connections",
        "security groups",
        (("nf_conntrack", "NF_CONNTRACK"), ("nft_ct", "NFT_CT")),
        expressions=(CtStateIs(CtState.ESTABLISHED),),
        always=True,
    ),
    Feature(
        "local destinations",
        "policy for hosts",
        (("nft_fib_ipv4", "NFT_FIB_IPV4"),),
        expressions=(DestinationIsLocal(),),
    ),
    Feature(
        "destination translation",
        "floating IPs and metadata",
        (("nft_nat", "NFT_NAT"), ("nft_chain_nat", "NFT_NAT")),
        expressions=(DestinationNat(b"\x7f\x00\x00\x01"),),
        hook=_DESTINATIONS,
    ),
    Feature(
        "source translation",
        "natOutgoing",
        (("nft_masq", "NFT_MASQ"),),
        expressions=(SourceNat(),),
        hook=_SOURCES,
    ),
    Feature(
        "limits of packets",
        "limits of packet rates",
        (("nft_limit", "NFT_LIMIT"),),
        expressions=(Limit(1, 1, 1, over=True),),
    ),
    Feature(
        "limits of connections",
        "limits of connections",
        (("nft_connlimit", "NFT_CONNLIMIT"),),
        expressions=(MoreConnections(1),),
    ),
    Feature("logging", "rules that log", (("nft_log", "NFT_LOG"),), expressions=(Log(_PROBE),)),
    Feature(
        "refusals",
        "DropActionOverride and rules that reject",
        (("nft_reject_ipv4", "NFT_REJECT_IPV4"),),
        expressions=(Reject(),),
    ),
    Feature(
        "flowtables",
        "NFTablesFlowTableOffload",
        (("nft_flow_offload", "NFT_FLOW_OFFLOAD"), ("nf_flow_table", "NF_FLOW_TABLE")),
        expressions=(OffloadFlow(_PROBE),),
        optional=True,
    ),
    Feature(
        "queueing",
        "limits of bandwidth",
        (
            ("sch_tbf", "NET_SCH_TBF"),
            ("sch_ingress", "NET_SCH_INGRESS"),
            ("act_mirred", "NET_ACT_MIRRED"),
            ("ifb", "IFB"),
        ),
    ),
)


def refusals() -> Iterator[tuple[Feature, str]]:
    """Yield every feature, and why the kernel does not have it: "" if it has."""
    system = System()
    for feature in FEATURES:
        if not feature.expressions:
            yield feature, _absent(system, feature)
        elif isinstance(feature.expressions[0], OffloadFlow):
            yield feature, "" if has_flowtables() else "no flowtables"
        else:
            yield feature, refusal(feature.expressions, feature.hook)


def conntrack_refusal() -> str:
    """Return why entries of connection tracking cannot be looked at, "" if they can."""
    try:
        socket = NetlinkSocket(NETLINK_NETFILTER)
        try:
            socket.dump(_CONNTRACK_STATISTICS, NFGENMSG.pack(0, 0, 0))
        finally:
            socket.close()
    except (NetlinkError, OSError) as error:
        return str(error)
    return ""


def refusal(expressions: tuple[Expression, ...], hook: Hook) -> str:
    """Return why the kernel would not take a rule of *expressions* at *hook*, "" if it would."""
    table = Table(Family.IP, _PROBE)
    chain = Chain((Rule(expressions),), hook)
    (rule,) = nft_messages.encode_rules(table, _PROBE, chain, chain.rule_hashes(_PROBE))
    messages = [nft_messages.batch_edge(NFNL_MSG_BATCH_BEGIN)]
    for number, (kind, body) in enumerate(
        (
            (NftMessage.NEWTABLE, nft_messages.encode_table(table)),
            (NftMessage.NEWCHAIN, nft_messages.encode_chain(table, _PROBE, hook)),
            (NftMessage.NEWRULE, rule),
        ),
        start=1,
    ):
        messages.append(nft_messages.request(kind, NLM_F_CREATE, number, table.family, body))
    try:
        socket = NetlinkSocket(NETLINK_NETFILTER)
    except OSError as error:
        return str(error)
    try:
        # No message ends the transaction.
        found = socket.exchange([b"".join(messages)])
    except OSError as error:
        return str(error)
    finally:
        socket.close()
    return next((each.text or os.strerror(each.code) for each in found), "")


def _absent(system: System, feature: Feature) -> str:
    missing = [name for name, option in feature.modules if not system.has_module(name, option)]
    return f"no module {', '.join(missing)}" if missing else ""

"""``node checksystem``: whether this host has what the agents need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from calico_openstack.agent.system import System

OK: Final = "OK"
FAIL: Final = "FAIL"
SKIP: Final = "SKIP"

# Modules and the options of the kernel's configuration that build them; of each group of
# alternatives one is enough.
_REQUIRED: Final = (
    ("nf_tables", "NF_TABLES"),
    ("nf_conntrack", "NF_CONNTRACK"),
    ("nf_conntrack_netlink", "NF_CT_NETLINK"),
    ("nft_ct", "NFT_CT"),
    ("nft_nat", "NFT_NAT"),
    ("nft_chain_nat", "NFT_NAT"),
)
_OPTIONAL: Final = (
    ("nft_limit", "NFT_LIMIT"),
    ("nft_connlimit", "NFT_CONNLIMIT"),
    ("sch_tbf", "NET_SCH_TBF"),
    ("ifb", "IFB"),
)
# What upstream's Felix needs and this one does not: worth knowing while both are in use.
_UPSTREAM: Final = (
    ("ip_set", "IP_SET"),
    ("ip_tables", "IP_NF_IPTABLES"),
    ("ip6_tables", "IP6_NF_IPTABLES"),
    ("ipt_REJECT", "IP_NF_TARGET_REJECT"),
    ("xt_addrtype", "NETFILTER_XT_MATCH_ADDRTYPE"),
    ("xt_conntrack", "NETFILTER_XT_MATCH_CONNTRACK"),
    ("xt_mark", "NETFILTER_XT_MARK"),
    ("xt_multiport", "NETFILTER_XT_MATCH_MULTIPORT"),
    ("xt_rpfilter", "IP_NF_MATCH_RPFILTER"),
    ("xt_set", "NETFILTER_XT_SET"),
    ("xt_bpf", "NETFILTER_XT_MATCH_BPF"),
    ("xt_u32", "NETFILTER_XT_MATCH_U32"),
)
# Felix describes the fields of its concatenated sets (NFTA_SET_DESC_CONCAT), since Linux 5.6.
_MINIMUM_KERNEL: Final = (5, 6)
_SWITCHES: Final = {
    "net/ipv4/ip_forward": "IPv4 traffic of instances is not forwarded: set it to 1",
    "net/ipv6/conf/all/forwarding": "IPv6 traffic of instances is not forwarded: set it to 1",
}
_PROGRAMS: Final = {
    "bird": "needed for BGP: install bird2",
    "dnsmasq": "needed for DHCP: install dnsmasq-base",
}


class Finding(NamedTuple):
    """What was looked at, OK, FAIL or SKIP (absent, and not always needed), and what to do."""

    subject: str
    result: str
    remedy: str = ""


def findings(system: System) -> Iterator[Finding]:
    """Yield what the host has and lacks."""
    numbers = re.match(r"(\d+)\.(\d+)", system.release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    minimum = ".".join(map(str, _MINIMUM_KERNEL))
    yield Finding(
        f"kernel {system.release or 'unknown'}",
        OK if version >= _MINIMUM_KERNEL else FAIL,
        "" if version >= _MINIMUM_KERNEL else f"version {minimum} or newer is needed",
    )
    for missing, modules, why in (
        (FAIL, _REQUIRED, "needed for all rules"),
        (SKIP, _OPTIONAL, "needed for QoS only"),
        (SKIP, _UPSTREAM, "needed by upstream's Felix only"),
    ):
        for name, option in modules:
            known = system.has_module(name, option)
            yield Finding(name, OK if known else missing, "" if known else why)
    for name, why in _SWITCHES.items():
        # Felix sets these when it starts.
        enabled = system.switch(name) not in ("", "0")
        yield Finding(name.replace("/", "."), OK if enabled else SKIP, "" if enabled else why)
    for name, why in _PROGRAMS.items():
        found = system.has_program(name)
        yield Finding(name, OK if found else SKIP, "" if found else why)

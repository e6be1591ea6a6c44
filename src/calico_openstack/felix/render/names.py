"""Names of chains and sets, and the comments that say where a rule comes from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.policy.packet import Direction

# Base chains.
RAW_PREROUTING = "raw-prerouting"
NAT_PREROUTING = "nat-prerouting"
NAT_OUTPUT = "nat-output"
NAT_POSTROUTING = "nat-postrouting"
DSCP_POSTROUTING = "dscp-postrouting"
FILTER_FORWARD = "filter-forward"
FILTER_INPUT = "filter-input"
FILTER_OUTPUT = "filter-output"
MANGLE_PREROUTING = "mangle-prerouting"
RAW_OUTPUT = "raw-output"
METADATA_OUTPUT = "metadata-output"
ARP_OUTPUT = "arp-output"

# Chains that every packet of the kind passes.
ANTI_SPOOFING = "anti-spoofing"
METADATA = "metadata"
INVALID = "invalid"
FROM_WORKLOAD = "from-workload"
TO_WORKLOAD = "to-workload"
EGRESS_ALLOWED = "egress-allowed"
WORKLOAD_FORWARD = "workload-forward"
WORKLOAD_TO_HOST = "workload-to-host"
ENDPOINT_TO_HOST = "endpoint-to-host"

# Chains of host endpoints, most of them called like the maps by interface that they look into.
FROM_HOST_ENDPOINT = "from-host-endpoint"
TO_HOST_ENDPOINT = "to-host-endpoint"
FROM_HOST_FORWARD = "from-host-forward"
FORWARDED_FROM_HOST = "forwarded-from-host"
TO_HOST_FORWARD = "to-host-forward"
PRE_DNAT = "host-pre-dnat"
PRE_DNAT_ALLOWED = "pre-dnat-allowed"
UNTRACKED_IN = "host-untracked-in"
UNTRACKED_OUT = "host-untracked-out"
UNTRACKED_ALLOWED = "untracked-allowed"

# Interfaces of named host endpoints, and the ports that are always open, in each direction.
HOST_INTERFACES = "host-interfaces"
FAILSAFE = {Direction.INGRESS: "failsafe-in", Direction.EGRESS: "failsafe-out"}

# Sets of endpoints; the two maps are called like the chains that look into them.
WORKLOAD_SOURCES = "workload-sources"
WORKLOAD_ADDRESSES = "workload-addresses"

# Floating addresses, and what a workload shows itself as when it asks for its own.
FLOATING = "floating"
HAIRPIN = "floating-hairpin"

# The cluster's networks; the names are upstream's.
POOLS = "network-ip-pools"
MASQUERADED_POOLS = "masq-ipam-pools"
HOSTS = "all-hosts-net"

# A map of addresses whose packets get a code point; upstream has a set of this name.
DSCP_SOURCES = "dscp-src-net"

# Maps of endpoints with limits, by direction; each is there while it has elements.
PACKET_RATES = {
    Direction.EGRESS: "from-workload-rates",
    Direction.INGRESS: "to-workload-rates",
}
CONNECTIONS = {
    Direction.EGRESS: "from-workload-connections",
    Direction.INGRESS: "to-workload-connections",
}

# Established flows that need no rule, and the addresses whose packets always do. Both names
# are upstream's.
FLOWTABLE = "calico"
NOT_OFFLOADED = "no-flow-offload"

SHORT_KINDS = {
    "NetworkPolicy": "np",
    "GlobalNetworkPolicy": "gnp",
    "StagedNetworkPolicy": "snp",
    "StagedGlobalNetworkPolicy": "sgnp",
    "Profile": "profile",
}

# Upstream's limit, kept so that both speak of the same sets.
_MAX_SET_NAME = 31
_MAX_CHAIN_NAME = 120
_MAX_COMMENT = 120
_NOT_IN_COMMENTS = re.compile(r'[^ -~]|["\\]')
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
_SIDES = {Direction.INGRESS: "in", Direction.EGRESS: "out"}


def block_id(key: ResourceKey) -> str:
    """Return how a policy or profile is called: ``np/<namespace>/<name>``, ``gnp/<name>``..."""
    parts = (SHORT_KINDS.get(key.kind, key.kind), key.namespace, key.name)
    return "/".join(part for part in parts if part)


def block_chain(key: ResourceKey, form: str) -> str:
    """Return the name of the chain with a policy's or profile's rules in a form."""
    name = f"{form}-{block_id(key)}"
    if len(name) <= _MAX_CHAIN_NAME and _PLAIN.fullmatch(name):
        return name
    return f"{form}-{SHORT_KINDS.get(key.kind, '')}-{content_hash(name)}"


def class_chain(way: str, content: object) -> str:
    """Return the name of the chain of all endpoints with the same policy."""
    return f"{way}-class-{content_hash(repr(content))}"


def rate_chain(key: ResourceKey, direction: Direction) -> str:
    """Return the name of the chain that drops an endpoint's packets above their rate."""
    return f"{_SIDES[direction]}-rate-{content_hash(key.path)}"


def connections_chain(key: ResourceKey, direction: Direction) -> str:
    """Return the name of the chain that refuses an endpoint's connections above their number."""
    return f"{_SIDES[direction]}-connections-{content_hash(key.path)}"


def dscp_chain(value: int) -> str:
    """Return the name of the chain that writes a code point."""
    return f"dscp-{value}"


def address_set(uid: str, version: int) -> str:
    """Return the name of the set of a selector's single addresses, or of a named port."""
    return _set_name(f"cali{version}0{uid}")


def range_set(uid: str, version: int) -> str:
    """Return the name of the set of a selector's networks."""
    return _set_name(f"cali{version}1{uid}")


def content_hash(text: str) -> str:
    """Return sixteen characters that stand for *text*."""
    return hashlib.sha224(text.encode()).hexdigest()[:16]


def rule_comment(key: ResourceKey, direction: Direction, index: int, note: str = "") -> str:
    """Return the provenance of a rule: the policy, the direction and the index in its list."""
    return comment(f"{block_id(key)} {direction.value}[{index}] {note}".rstrip())


def merged_comment(key: ResourceKey, direction: Direction, indexes: Sequence[int]) -> str:
    """Return the provenance of what stands for several rules of a policy, by ascending index."""
    spans: list[list[int]] = []
    for index in indexes:
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    parts = (f"{first}" if first == last else f"{first}-{last}" for first, last in spans)
    return comment(f"{block_id(key)} {direction.value}[{','.join(parts)}]")


def comment(text: str) -> str:
    """Return *text* as far as it can be a comment: printable ASCII without quotes, shortened."""
    plain = _NOT_IN_COMMENTS.sub("_", text)
    return plain if len(plain) <= _MAX_COMMENT else f"{plain[: _MAX_COMMENT - 3]}..."


def _set_name(text: str) -> str:
    return text[:_MAX_SET_NAME].replace(":", "-")

"""The kinds that the command knows: their aliases and the columns of their tables.

Source of aliases and columns: specification of the command line, section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from calico_openstack.calicoctl import naming
from calico_openstack.datamodel import Resource
from calico_openstack.datamodel.kinds import RESOURCE_TYPES

Row = dict[str, Any]
"""A resource as JSON members, in the datastore's own names."""


class Column(NamedTuple):
    """A heading, and how a cell is made from a resource."""

    heading: str
    cell: Callable[[Row], str]


class Presentation(NamedTuple):
    """Names by which a kind is called, and its tables."""

    aliases: tuple[str, ...]
    columns: tuple[Column, ...]
    wide: tuple[Column, ...]


class UnknownColumnError(ValueError):
    """The operator named a column that a kind does not have."""


class UnknownKindError(ValueError):
    """The operator named a kind that does not exist."""


def _member(*path: str) -> Callable[[Row], str]:
    """Return a cell that shows the member at *path*; lists are joined with commas."""

    def cell(row: Row) -> str:
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        # Most members are texts, and there can be a million of them.
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        if isinstance(value, list):
            return ",".join(map(str, value))
        return str(value)

    return cell


def _spec(heading: str, name: str) -> Column:
    return Column(heading, _member("spec", name))


def _or_else(cell: Callable[[Row], str], alternative: str) -> Callable[[Row], str]:
    return lambda row: cell(row) or alternative


def _length(name: str) -> Callable[[Row], str]:
    return lambda row: str(len(row.get("spec", {}).get(name) or []))


def _workload(row: Row) -> str:
    spec = row.get("spec", {})
    return str(spec.get("workload") or spec.get("pod") or "")


def _peer_node(row: Row) -> str:
    spec = row.get("spec", {})
    return str(spec.get("node") or spec.get("nodeSelector") or "(global)")


def _pairs(*path: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        value: Any = row
        for name in path:
            value = value.get(name, {})
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))

    return cell


def _nats(row: Row) -> str:
    nats = row.get("spec", {}).get("ipNATs") or []
    return ",".join(nat.get("externalIP", "") for nat in nats)


def _shortened(cell: Callable[[Row], str], width: int = 80) -> Callable[[Row], str]:
    def short(row: Row) -> str:
        text = cell(row)
        return text if len(text) <= width else text[: width - 3] + "..."

    return short


_NAME: Final = Column("NAME", _member("metadata", "name"))
_POLICY: Final = (_NAME, Column("TIER", _or_else(_member("spec", "tier"), "default")))
_POLICY_WIDE: Final = (*_POLICY, _spec("ORDER", "order"), _spec("SELECTOR", "selector"))
_NETS_WIDE: Final = (_NAME, Column("NETS", _shortened(_member("spec", "nets"))))


def _of_neutron(title: Callable[[naming.Metadata, Row], str]) -> Callable[[Row], str]:
    """Return a cell that says what a thing of Neutron is called."""

    def cell(row: Row) -> str:
        metadata = row["metadata"]
        named = naming.Metadata(metadata.get("labels") or {}, metadata.get("annotations") or {})
        return title(named, row.get("spec", {}))

    return cell


_NEUTRON: Final = (
    Column(
        "PORT",
        _of_neutron(lambda m, spec: naming.port_title(m.annotations, spec.get("endpoint", ""))),
    ),
    Column("GROUPS", _of_neutron(lambda m, _: ",".join(naming.group_titles(m.labels)))),
    Column("NETWORK", _of_neutron(lambda m, _: naming.network_title(m))),
    Column("PROJECT", _of_neutron(lambda m, _: naming.project_title(m.labels))),
)
_WORKLOAD: Final = (
    Column("WORKLOAD", _workload),
    _spec("NODE", "node"),
    _spec("NETWORKS", "ipNetworks"),
    _spec("INTERFACE", "interfaceName"),
)
_BGP_CONFIGURATION: Final = (
    _NAME,
    _spec("LOGSEVERITY", "logSeverityScreen"),
    _spec("MESHENABLED", "nodeToNodeMeshEnabled"),
    Column("ASNUMBER", _or_else(_member("spec", "asNumber"), "-")),
)
_BGP_FILTER: Final = (
    _NAME,
    *(
        Column(f"NUM{name.upper()}", _length(name))
        for name in ("exportV4", "importV4", "exportV6", "importV6")
    ),
)
_BGP_PEER: Final = (
    _NAME,
    _spec("PEERIP", "peerIP"),
    Column("NODE", _peer_node),
    Column("ASN", _or_else(_member("spec", "asNumber"), "0")),
)
_CLUSTER: Final = (
    _NAME,
    _spec("CLUSTERGUID", "clusterGUID"),
    _spec("CLUSTERTYPE", "clusterType"),
    _spec("CALICOVERSION", "calicoVersion"),
    _spec("DATASTOREREADY", "datastoreReady"),
)
_NODE_WIDE: Final = (
    _NAME,
    Column("ASN", _member("spec", "bgp", "asNumber")),
    Column("IPV4", _member("spec", "bgp", "ipv4Address")),
    Column("IPV6", _member("spec", "bgp", "ipv6Address")),
)
_POOL: Final = (
    _NAME,
    _spec("CIDR", "cidr"),
    Column("SELECTOR", _or_else(_member("spec", "nodeSelector"), "all()")),
)
_POOL_WIDE: Final = (
    _NAME,
    _spec("CIDR", "cidr"),
    Column("NAT", _or_else(_member("spec", "natOutgoing"), "false")),
    Column("IPIPMODE", _or_else(_member("spec", "ipipMode"), "Never")),
    Column("VXLANMODE", _or_else(_member("spec", "vxlanMode"), "Never")),
    Column("DISABLED", _or_else(_member("spec", "disabled"), "false")),
    Column("DISABLEBGPEXPORT", _or_else(_member("spec", "disableBGPExport"), "false")),
    Column("SELECTOR", _or_else(_member("spec", "nodeSelector"), "all()")),
)
_NODE_STATUS: Final = (_NAME, _spec("NODE", "node"))
_HOST_ENDPOINT: Final = (_NAME, _spec("NODE", "node"))

_PRESENTATIONS: Final[dict[str, Presentation]] = {
    "BGPConfiguration": Presentation(("bgpconfig",), _BGP_CONFIGURATION, _BGP_CONFIGURATION),
    "BGPFilter": Presentation(("bgpf", "bf"), _BGP_FILTER, _BGP_FILTER),
    "BGPPeer": Presentation(("bgpp", "bp"), _BGP_PEER, _BGP_PEER),
    "CalicoNodeStatus": Presentation(
        ("nodestatus",), _NODE_STATUS, (*_NODE_STATUS, _spec("CLASSES", "classes"))
    ),
    "ClusterInformation": Presentation(("clusterinfo",), _CLUSTER, _CLUSTER),
    "FelixConfiguration": Presentation(("felixconfig",), (_NAME,), (_NAME,)),
    "GlobalNetworkPolicy": Presentation(("gnp",), _POLICY, _POLICY_WIDE),
    "GlobalNetworkSet": Presentation(("gnetset",), (_NAME,), _NETS_WIDE),
    "HostEndpoint": Presentation(
        ("hep",),
        _HOST_ENDPOINT,
        (
            *_HOST_ENDPOINT,
            _spec("INTERFACE", "interfaceName"),
            _spec("IPS", "expectedIPs"),
            _spec("PROFILES", "profiles"),
        ),
    ),
    "IPPool": Presentation(("ipp", "pool"), _POOL, _POOL_WIDE),
    "IPReservation": Presentation(
        ("reservation",),
        (_NAME,),
        (_NAME, Column("CIDRS", _shortened(_member("spec", "reservedCIDRs")))),
    ),
    "KubeControllersConfiguration": Presentation(("kubecontrollersconfig",), (_NAME,), (_NAME,)),
    "LiveMigration": Presentation((), (_NAME,), (_NAME,)),
    "NetworkPolicy": Presentation(("policy", "np", "pol"), _POLICY, _POLICY_WIDE),
    "NetworkSet": Presentation(("netset",), (_NAME,), _NETS_WIDE),
    "Node": Presentation(("no",), (_NAME,), _NODE_WIDE),
    "Profile": Presentation(
        ("pro",), (_NAME,), (_NAME, Column("LABELS", _pairs("spec", "labelsToApply")))
    ),
    "StagedGlobalNetworkPolicy": Presentation(("sgnp",), _POLICY, _POLICY_WIDE),
    "StagedKubernetesNetworkPolicy": Presentation(
        ("stagedkubernetespolicy", "sknp", "skpol"),
        (_NAME,),
        (_NAME, Column("PODSELECTOR", _pairs("spec", "podSelector", "matchLabels"))),
    ),
    "StagedNetworkPolicy": Presentation(("snp",), _POLICY, _POLICY_WIDE),
    "Tier": Presentation((), (_NAME, _spec("ORDER", "order")), (_NAME, _spec("ORDER", "order"))),
    "WorkloadEndpoint": Presentation(
        ("wep",),
        _WORKLOAD,
        # Upstream's columns come first, so that scripts find them where they were.
        (_NAME, *_WORKLOAD, _spec("PROFILES", "profiles"), Column("NATS", _nats), *_NEUTRON),
    ),
}

READ_ONLY: Final = frozenset({"ClusterInformation"})
"""Kinds that the system keeps itself: writing them by hand is refused."""


def presentation_of(kind: str) -> Presentation:
    """Return how a kind is shown; raises KeyError for a kind that is not known."""
    return _PRESENTATIONS[kind]


NAMESPACE_COLUMN: Final = Column("NAMESPACE", _member("metadata", "namespace"))
_ONLY_CUSTOM: Final = {
    "WorkloadEndpoint": (
        _spec("ORCHESTRATOR", "orchestrator"),
        _spec("ENDPOINT", "endpoint"),
        _spec("MAC", "mac"),
    )
}


def columns_named(cls: type[Resource], headings: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of a kind that the operator wants; raises `UnknownColumnError`."""
    shown = _PRESENTATIONS[cls.KIND]
    columns = (*shown.columns, *shown.wide, *_ONLY_CUSTOM.get(cls.KIND, ()))
    known = {column.heading: column for column in columns}
    known["LABELS"] = known.get("LABELS") or Column("LABELS", _pairs("metadata", "labels"))
    if cls.NAMESPACED:
        known["NAMESPACE"] = NAMESPACE_COLUMN
    for heading in headings:
        if heading.upper() not in known:
            raise UnknownColumnError(
                f"unknown output column {heading}; {cls.KIND} has {', '.join(sorted(known))}"
            )
    return tuple(known[heading.upper()] for heading in headings)


def _plural(name: str) -> str:
    if name.endswith("y"):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")


def _spellings() -> dict[str, type[Resource]]:
    result: dict[str, type[Resource]] = {}
    for cls in RESOURCE_TYPES:
        for alias in (cls.KIND.lower(), *_PRESENTATIONS[cls.KIND].aliases):
            result[alias] = result[_plural(alias)] = cls
    return result


_BY_SPELLING: Final = _spellings()


def kind_named(text: str) -> type[Resource]:
    """Return the kind that the operator calls *text* (any alias, any case).

    Raises `UnknownKindError`, with the nearest known name.
    """
    found = _BY_SPELLING.get(text.lower())
    if found is None:
        import difflib  # noqa: PLC0415 - for this rare case alone

        near = difflib.get_close_matches(text.lower(), _BY_SPELLING, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UnknownKindError(f"resource type '{text}' is not supported{hint}")
    return found


def complete_kind(context: object, parameter: object, incomplete: str) -> list[str]:
    """Return the names of kinds that begin so, for the shell to complete.

    The first two arguments are those of every completion and not used.
    """
    beginning = incomplete.lower()
    plurals = sorted(cls.PLURAL for cls in RESOURCE_TYPES)
    return [name for name in plurals if name.startswith(beginning)]

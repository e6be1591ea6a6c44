"""What the agent writes into its host's Node resource. Pure.

Others write the same object: an operator sets the AS number, the route reflector's cluster id and
labels, Felix publishes WireGuard keys. So an existing object is changed member by member, as JSON,
and whatever this agent does not know stays as it is. What the agent itself applied from its
configuration is remembered in an annotation, so that a label or AS number that vanishes from the
configuration vanishes from the Node, and one that an operator set is left alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Any

from calico_openstack.bgp.detection import Family, HostAddress

LAST_APPLIED = "bgp.calico-openstack.org/last-applied"
API_VERSION = "projectcalico.org/v3"
_ADDRESS_MEMBERS: Mapping[Family, str] = {4: "ipv4Address", 6: "ipv6Address"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the host's configuration asks for.

    ``addresses`` has an entry for each family that the agent manages: an address, or None to have
    none. A family without entry is left as it is. ``host_id`` is Neutron's name of the host.
    """

    name: str
    host_id: str
    addresses: Mapping[Family, HostAddress | None]
    labels: Mapping[str, str] = field(default_factory=dict)
    as_number: int | str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a new object needs and a pure function cannot make."""

    uid: str
    creation_timestamp: str


def address_of(node: Mapping[str, Any] | None, family: Family) -> str:
    """Return the BGP address stored in a Node, or an empty string."""
    bgp = _mapping(_mapping(node or {}, "spec"), "bgp")
    value = bgp.get(_ADDRESS_MEMBERS[family], "")
    return value if isinstance(value, str) else ""


def conflicting_node(
    address: HostAddress, name: str, nodes: Iterable[tuple[str, Mapping[str, Any]]]
) -> str | None:
    """Return the first other node, by name, that already has *address*; None if there is none."""
    family: Family = 4 if address.version == 4 else 6
    for other, node in sorted(nodes, key=lambda item: item[0]):
        stored = address_of(node, family)
        if other != name and stored and _same_host(stored, address):
            return other
    return None


def merged(
    existing: Mapping[str, Any] | None, wanted: Wanted, identity: Identity
) -> dict[str, Any]:
    """Return the Node as JSON object that should be stored.

    Equal to *existing* where there is nothing to change. Members of *existing* that hold something
    else than the data model says are replaced only where *wanted* has a value for them.
    """
    node: dict[str, Any] = copy.deepcopy(dict(existing)) if existing else _new(wanted, identity)
    spec = _child(node, "spec")
    metadata = _child(node, "metadata")
    applied = _last_applied(metadata)
    _merge_bgp(spec, wanted, applied.get("asNumber"))
    _merge_references(spec, wanted)
    _merge_labels(metadata, wanted.labels, _strings(applied.get("labels")))
    _remember(metadata, wanted)
    if not spec:
        del node["spec"]
    return node


def _new(wanted: Wanted, identity: Identity) -> dict[str, Any]:
    return {
        "kind": "Node",
        "apiVersion": API_VERSION,
        "metadata": {
            "name": wanted.name,
            "uid": identity.uid,
            "creationTimestamp": identity.creation_timestamp,
        },
        "spec": {},
    }


def _merge_bgp(spec: dict[str, Any], wanted: Wanted, applied_as: object) -> None:
    bgp = _child(spec, "bgp")
    for family, address in sorted(wanted.addresses.items()):
        member = _ADDRESS_MEMBERS[family]
        if address is None:
            bgp.pop(member, None)
        else:
            bgp[member] = str(address)
    if applied_as is not None and bgp.get("asNumber") == applied_as:
        del bgp["asNumber"]
    if wanted.as_number is not None:
        bgp.setdefault("asNumber", wanted.as_number)
    if not bgp:
        # The data model allows the member to be absent, not to be empty.
        del spec["bgp"]


def _merge_references(spec: dict[str, Any], wanted: Wanted) -> None:
    reference = {"nodeName": wanted.host_id, "orchestrator": "openstack"}
    stored = spec.get("orchRefs")
    others = [
        entry
        for entry in (stored if isinstance(stored, list) else [])
        if not (isinstance(entry, dict) and entry.get("orchestrator") == "openstack")
    ]
    if not isinstance(stored, list) or reference not in stored:
        spec["orchRefs"] = [*others, reference]


def _merge_labels(
    metadata: dict[str, Any], wanted: Mapping[str, str], applied: Mapping[str, str]
) -> None:
    labels = _child(metadata, "labels")
    for key, value in applied.items():
        if labels.get(key) == value:
            del labels[key]
    for key, value in sorted(wanted.items()):
        labels.setdefault(key, value)
    if not labels:
        del metadata["labels"]


def _remember(metadata: dict[str, Any], wanted: Wanted) -> None:
    record: dict[str, Any] = {}
    if wanted.labels:
        record["labels"] = dict(wanted.labels)
    if wanted.as_number is not None:
        record["asNumber"] = wanted.as_number
    annotations = _child(metadata, "annotations")
    if record:
        annotations[LAST_APPLIED] = json.dumps(record, sort_keys=True, separators=(",", ":"))
    else:
        annotations.pop(LAST_APPLIED, None)
    if not annotations:
        del metadata["annotations"]


def _last_applied(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    text = _mapping(metadata, "annotations").get(LAST_APPLIED)
    if not isinstance(text, str):
        return {}
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _same_host(stored: str, address: HostAddress) -> bool:
    try:
        return ip_interface(stored).ip == address.ip
    except ValueError:
        return False


def _child(parent: dict[str, Any], member: str) -> dict[str, Any]:
    """Return the object stored under *member*, putting an empty one where there is none."""
    value = parent.get(member)
    if not isinstance(value, dict):
        value = {}
        parent[member] = value
    return value


def _mapping(parent: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    value = parent.get(member)
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}

"""How a stored resource changes when it is written again.

The object keeps its identity: ``uid``, ``creationTimestamp`` and whatever others keep in its
metadata stay. Its specification is replaced as a whole, and so are labels and annotations where
there are any: merging them would never take a port out of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from calico_openstack.datamodel.codec import encode
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.datamodel.resource import API_VERSION, Resource


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new object is given: a UUID, and the time as RFC 3339 text in whole seconds."""

    uid: str
    time: str


def renewed(stored: bytes | None, desired: Resource, birth: Birth) -> bytes | None:
    """Return the value to write so that ``desired`` is stored, None where it is already.

    ``stored`` is what is there; None or garbage makes a new object.
    """
    metadata = desired.metadata
    return renewed_document(
        stored,
        {"kind": desired.KIND, "name": metadata.name, "namespace": metadata.namespace},
        labels=metadata.labels,
        annotations=metadata.annotations,
        spec=msgspec.json.decode(encode(desired))["spec"],
        birth=birth,
    )


def renewed_document(
    stored: bytes | None,
    identity: dict[str, str],
    *,
    spec: dict[str, Any],
    birth: Birth,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> bytes | None:
    """Do what ``renewed`` does, with a specification that is JSON already.

    ``identity`` has ``kind``, ``name`` and ``namespace``, the last one empty for kinds of the
    whole cluster.
    """
    document = _parsed(stored)
    before = document.get("metadata")
    metadata: dict[str, Any] = dict(before) if isinstance(before, dict) else {}
    metadata["name"] = identity["name"]
    if identity["namespace"]:
        metadata["namespace"] = identity["namespace"]
    for member, value in (("creationTimestamp", birth.time), ("uid", birth.uid)):
        if not metadata.get(member):
            metadata[member] = value
    for member, entries in (("annotations", annotations), ("labels", labels)):
        if entries:
            metadata[member] = entries
    result = {
        "kind": identity["kind"],
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "spec": spec,
    }
    if result == document:
        return None
    return msgspec.json.encode(result)


def stored_spec(stored: bytes | None) -> dict[str, Any] | None:
    """Return the specification of a stored resource, None where there is none to be read."""
    spec = _parsed(stored).get("spec")
    return spec if isinstance(spec, dict) else None


def _parsed(stored: bytes | None) -> dict[str, Any]:
    if stored is None:
        return {}
    try:
        document = msgspec.json.decode(stored)
    except UNREADABLE:
        return {}
    return document if isinstance(document, dict) else {}

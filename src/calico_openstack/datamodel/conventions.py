"""What upstream's client adds to a resource when it stores it, and readers take away again.

A policy is stored under the name that its author gave it, with an annotation that says so. Old
releases put ``default.`` in front of the names of policies of the default tier; where the
annotation is missing, readers take that away. The key stays as it is. Policies carry the label of
their tier, workload endpoints those of their namespace and orchestrator.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.datamodel.policies import (
    DEFAULT_TIER,
    TIER_LABEL,
    GlobalNetworkPolicy,
    NetworkPolicy,
)
from calico_openstack.datamodel.resource import Metadata, Resource

NAME_ANNOTATION: Final = "projectcalico.org/metadata"
NAMESPACE_LABEL: Final = "projectcalico.org/namespace"
ORCHESTRATOR_LABEL: Final = "projectcalico.org/orchestrator"


# Not a union type: building one costs more than the test, and every object is tested.
_POLICIES: Final = (NetworkPolicy, GlobalNetworkPolicy)


class _OriginalName(msgspec.Struct):
    name: str


_ORIGINAL_NAME: Final = msgspec.json.Decoder(_OriginalName)


def as_read(resource: Resource) -> Resource:
    """Return a stored resource as readers see it. Changes policies only."""
    if not isinstance(resource, _POLICIES):
        return resource
    metadata = resource.metadata
    in_default_tier = resource.spec.tier in ("", DEFAULT_TIER)
    name, annotations, labels = metadata.name, metadata.annotations, metadata.labels
    if NAME_ANNOTATION in annotations:
        name = _original_name(annotations[NAME_ANNOTATION]) or name
        annotations = {k: v for k, v in annotations.items() if k != NAME_ANNOTATION}
    elif in_default_tier:
        name = name.removeprefix(f"{DEFAULT_TIER}.")
    if in_default_tier and TIER_LABEL not in labels:
        labels = {**labels, TIER_LABEL: DEFAULT_TIER}
    return _with_metadata(resource, name=name, annotations=annotations, labels=labels)


def names_in_keys(resource: Resource) -> frozenset[str]:
    """Return the names under which a resource may be stored: its own, for policies others too.

    Releases differ in whether key and name of a policy of the default tier begin with its tier.
    """
    name = resource.metadata.name
    if not isinstance(resource, _POLICIES) or resource.spec.tier not in ("", DEFAULT_TIER):
        return frozenset((name,))
    plain = name.removeprefix(f"{DEFAULT_TIER}.")
    return frozenset((plain, f"{DEFAULT_TIER}.{plain}"))


def as_written(resource: Resource) -> Resource:
    """Return a resource with what upstream's client adds when it stores one.

    Policies get the annotation with their name, the label of their tier and, if they have none,
    the types that their rules imply; workload endpoints get the labels of their namespace and
    orchestrator. Everything else is stored as it is.
    """
    metadata = resource.metadata
    if isinstance(resource, WorkloadEndpoint):
        labels = {
            **metadata.labels,
            NAMESPACE_LABEL: metadata.namespace,
            ORCHESTRATOR_LABEL: resource.spec.orchestrator,
        }
        return _with_metadata(resource, labels=labels)
    if not isinstance(resource, _POLICIES):
        return resource
    spec = resource.spec
    if not spec.types:
        ingress = ("Ingress",) if spec.ingress or not spec.egress else ()
        egress = ("Egress",) if spec.egress else ()
        spec = msgspec.structs.replace(spec, types=ingress + egress)
    named = json.dumps({"name": metadata.name}, separators=(",", ":"))
    policy = _with_metadata(
        resource,
        annotations={**metadata.annotations, NAME_ANNOTATION: named},
        labels={**metadata.labels, TIER_LABEL: spec.tier or DEFAULT_TIER},
    )
    return msgspec.structs.replace(policy, spec=spec)


def _with_metadata(resource: Resource, **changes: object) -> Resource:
    metadata: Metadata = msgspec.structs.replace(resource.metadata, **changes)
    return msgspec.structs.replace(resource, metadata=metadata)


def _original_name(annotation: str) -> str | None:
    """Return the name in the annotation, None if it holds none."""
    try:
        return _ORIGINAL_NAME.decode(annotation).name
    except UNREADABLE:
        return None

"""The text of a backup: resources as YAML documents, then the cluster's information as JSON.

The text is that of upstream's export: each resource is followed by ``---``, the information comes
behind a line of ``===``. Upstream's third part, its address management, does not exist here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.documents import DocumentError, resource_of, resources_in
from calico_openstack.datamodel import ClusterInformation, Resource
from calico_openstack.datamodel.invalid import UNREADABLE

KINDS: Final = (
    "IPPool",
    "BGPPeer",
    "Tier",
    "GlobalNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "GlobalNetworkSet",
    "HostEndpoint",
    "KubeControllersConfiguration",
    "NetworkPolicy",
    "StagedNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "NetworkSet",
    "Node",
    "BGPConfiguration",
    "FelixConfiguration",
    "IPReservation",
    "BGPFilter",
    "Profile",
)
"""The kinds in a backup, in its order."""

WORKLOAD_KINDS: Final = ("WorkloadEndpoint", "LiveMigration")
"""Kinds that Neutron writes again by itself."""

_SEPARATOR: Final = "==="


def written(resources: Iterable[Resource]) -> Iterator[str]:
    """Yield the lines of a backup of *resources*."""
    order = {kind: place for place, kind in enumerate((*KINDS, *WORKLOAD_KINDS))}
    information = None
    kept = []
    for resource in resources:
        if isinstance(resource, ClusterInformation):
            information = resource
        elif resource.KIND in order:
            kept.append(resource)
    kept.sort(key=lambda r: (order[r.KIND], r.metadata.namespace, r.metadata.name))
    for resource in kept:
        yield output.as_yaml(output.as_row(resource))
        yield "---"
    yield _SEPARATOR
    yield json.dumps(output.as_row(information)) if information else "{}"


def read(text: str, name: str) -> list[Resource]:
    """Return the resources of a backup, the cluster's information last; raises `DocumentError`."""
    parts = [part.strip("\n") for part in f"\n{text}".split(f"\n{_SEPARATOR}\n")]
    if len(parts) == 1:
        raise DocumentError(f"{name} is not a whole backup: its line {_SEPARATOR} is missing")
    resources = resources_in(parts[0], name)
    try:
        information = msgspec.json.decode(parts[1])
    except UNREADABLE as error:
        raise DocumentError(f"{name}: the cluster's information: {error}") from None
    if information:
        resources.append(resource_of(information, f"{name}, the cluster's information"))
    return resources

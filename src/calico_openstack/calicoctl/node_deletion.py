"""What goes with a node: upstream deletes its endpoints too, which are Neutron's here.

Deleted endpoints of OpenStack come back at Neutron's next resync only: until then the instances
have no network. So a node that has some is kept unless that is said twice (specification 4.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from calico_openstack.calicoctl.store import MissingError, Store, StoreError
from calico_openstack.datamodel import (
    BGPConfiguration,
    BGPPeer,
    FelixConfiguration,
    HostEndpoint,
    Resource,
    ResourceKey,
    WorkloadEndpoint,
    parse_workload_endpoint_name,
)

CASCADES: Final = ("none", "bgp", "all")
"""What is deleted with a node: nothing; its BGP resources; as upstream, its endpoints too."""

_ORCHESTRATOR: Final = "openstack"


def workloads_of(node: str, keys: Iterable[ResourceKey]) -> dict[ResourceKey, bool]:
    """Return which of the workload endpoints' *keys* are on *node*, and if they are OpenStack's."""
    found = {}
    for key in keys:
        parts = parse_workload_endpoint_name(key.name)
        if parts is not None and parts[0] == node:
            found[key] = parts[1] == _ORCHESTRATOR
    return found


def belongings(node: str, resources: Iterable[Resource]) -> Iterator[ResourceKey]:
    """Yield the keys of those of *resources* that are about *node* alone."""
    for resource in resources:
        name = resource.metadata.name
        match resource:
            case BGPPeer() | HostEndpoint():
                belongs = resource.spec.node == node
            case BGPConfiguration() | FelixConfiguration():
                belongs = name == f"node.{node}"
            case _:
                belongs = False
        if belongs:
            yield ResourceKey(resource.KIND, name)


def delete_node(store: Store, key: ResourceKey, version: str, cascade: str, force: bool) -> None:
    """Delete a node and what goes with it; raises `StoreError` and deletes nothing if refused."""
    workloads = workloads_of(key.name, store.keys(WorkloadEndpoint))
    guests = sum(workloads.values())
    if guests and not force:
        raise StoreError(
            f"Node({key.name}) has {guests} workload endpoint(s) of OpenStack: move or delete "
            "these instances first; --force deletes the node and leaves the endpoints"
            + (", with --cascade=all it deletes them too" if cascade == "all" else "")
        )
    store.delete(key, version)
    kinds: dict[str, tuple[type[Resource], ...]] = {
        "none": (),
        "bgp": (BGPPeer, BGPConfiguration),
        "all": (BGPPeer, BGPConfiguration, FelixConfiguration, HostEndpoint),
    }
    doomed = [each for cls in kinds[cascade] for each in belongings(key.name, store.listed(cls))]
    for each in (*doomed, *(workloads if cascade == "all" else ())):
        try:
            store.delete(each)
        except MissingError:
            continue  # somebody else was faster

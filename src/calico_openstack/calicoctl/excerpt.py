"""The part of the datastore that matters to two ends: all that is read, little of it decoded.

A hundred thousand endpoints are read in about a second, but would take many to decode. So stored
bytes are searched for the texts that an endpoint in question must contain, and policies are left
out that select by a label which neither end has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from calico_openstack.calicoctl.endpoint_scan import (
    Resources,
    StoredEndpoints,
    decoded,
    on_host,
)
from calico_openstack.calicoctl.ends import (
    End,
    candidates,
    matched,
    trace_of,
    where_they_run,
)
from calico_openstack.datamodel import (
    FelixConfiguration,
    GlobalNetworkPolicy,
    GlobalNetworkSet,
    HostEndpoint,
    Invalid,
    IPPool,
    LiveMigration,
    NetworkPolicy,
    NetworkSet,
    Profile,
    Resource,
    ResourceKey,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
    WorkloadEndpoint,
    decode,
    prefix_of,
)
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.etcd import EtcdClient
from calico_openstack.etcd.records import KeyValue
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.cluster import Cluster

_KINDS: Final = (
    Tier,
    GlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    NetworkSet,
    GlobalNetworkSet,
    HostEndpoint,
    IPPool,
)
# A selector of this form, which Neutron's driver writes for security groups, needs its label.
_HAS_LABEL: Final = re.compile(r"has\(([^()]+)\)")


class _SpecPeek(msgspec.Struct):
    selector: str = ""


class _PolicyPeek(msgspec.Struct):
    spec: _SpecPeek


_PEEK: Final = msgspec.json.Decoder(_PolicyPeek)


class Excerpt(msgspec.Struct, frozen=True):
    """Two ends of a flow and the resources that decide about it, alone and as a cluster."""

    source: End
    destination: End
    resources: Resources
    cluster: Cluster


def excerpt(client: EtcdClient, source: str, destination: str) -> Excerpt:
    """Read what matters to packets from *source* to *destination*.

    Raises `EndError` for what stands for no end, `EtcdError`.
    """
    texts = source, destination
    stored = StoredEndpoints(client, texts)
    # While etcd hands out the endpoints, what is few is read.
    spoofing = _spoofing(client)
    few = decoded(kv for kind in (Profile, *_KINDS) for kv in _all(client, kind))
    policies = [(needed_label(kv.value), kv) for kv in _all(client, NetworkPolicy)]
    # OpenStack names a migration like the endpoint that it leads to.
    arriving = {kv.key.rpartition("/")[2] for kv in _all(client, LiveMigration)}
    named = stored.holding(texts)
    endpoints = Cluster(named, source_spoofing=spoofing).endpoints
    running = where_they_run(endpoints, arriving)
    ends = matched(candidates(running, source), candidates(running, destination))
    own = [endpoints[end.endpoint] for end in ends if end.endpoint is not None]
    addresses = {text for end in ends for text in (end.address, end.floating) if text}
    workloads = {**named, **stored.holding(addresses.difference(texts))}
    for end in ends:
        if end.endpoint is not None:
            workloads |= _beside(client, end.endpoint, endpoints[end.endpoint])
    resources = {**_near(workloads, ends), **few}
    labels = {label for endpoint in own for label in endpoint.metadata.labels}
    for value in resources.values():
        if isinstance(value, Profile):
            labels |= set(value.spec.labels_to_apply)
    resources |= decoded(kv for label, kv in policies if not label or label in labels)
    return Excerpt(*ends, resources, Cluster(resources, source_spoofing=spoofing))


def needed_label(policy: bytes) -> str:
    """Return a label without which a stored policy selects nothing, "" if there may be none."""
    try:
        selector = _PEEK.decode(policy).spec.selector
    except UNREADABLE:
        return ""
    needed = _HAS_LABEL.fullmatch(selector)
    return needed[1] if needed else ""


def _spoofing(client: EtcdClient) -> bool:
    stored = client.get(ResourceKey(FelixConfiguration.KIND, "default").path)
    configuration = decode(stored.key, stored.value) if stored else None
    return (
        isinstance(configuration, FelixConfiguration)
        and configuration.spec.get("workloadSourceSpoofing") == "Any"
    )


def _all(client: EtcdClient, cls: type[Resource]) -> Iterable[KeyValue]:
    return (kv for page in client.iterate_prefix(prefix_of(cls.KIND)) for kv in page.kvs)


def _beside(client: EtcdClient, key: ResourceKey, endpoint: WorkloadEndpoint) -> Resources:
    """Return the endpoints of the host of one of them that may have its interface."""
    namespace = prefix_of(key.kind, key.namespace).removesuffix("/")
    interface = trace_of(endpoint.spec.interface_name)
    pages = client.iterate_prefix(on_host(namespace, endpoint.spec.node))
    stored = (kv for page in pages for kv in page.kvs)
    return decoded(kv for kv in stored if interface is None or interface.is_in(kv.value))


def _near(workloads: Mapping[ResourceKey, Resource | Invalid], ends: tuple[End, End]) -> Resources:
    """Return the endpoints that matter: selectors are asked about the addresses of the ends only.

    Those that claim the interface of an end matter too, for only one of them has it.
    """
    addresses = {end.packed for end in ends}
    addresses |= {pack_address(end.floating) for end in ends if end.floating}
    own = [workloads[end.endpoint] for end in ends if end.endpoint is not None]
    interfaces = {_interface(value) for value in own}
    return {
        key: value
        for key, value in workloads.items()
        if isinstance(value, WorkloadEndpoint)
        and (
            _interface(value) in interfaces
            or not addresses.isdisjoint(map(pack_address, value.spec.ip_networks))
        )
    }


def _interface(value: Resource | Invalid) -> tuple[str, str] | None:
    if isinstance(value, WorkloadEndpoint):
        return value.spec.node, value.spec.interface_name
    return None

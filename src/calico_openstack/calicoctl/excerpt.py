"""The part of the datastore that matters to two ends: all that is read, little of it decoded.

A hundred thousand endpoints are read in about a second, but would take many to decode. So stored
bytes are searched for the texts that an endpoint in question must contain, and policies are left
out that select by a label which neither end has.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

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
    parse_key,
    prefix_of,
)
from calico_openstack.etcd import EtcdClient
from calico_openstack.etcd.records import KeyValue
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.cluster import Cluster

Resources = dict[ResourceKey, Resource | Invalid]

# Endpoints are many, and etcd counts what is left of a range for every page.
_A_PAGE: Final = 10_000
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
    spoofing = _spoofing(client)
    texts = source, destination
    stored: list[KeyValue] = []
    named: Resources = {}
    # etcd sends the next page while this one is searched.
    for page in client.iterate_prefix(prefix_of(WorkloadEndpoint.KIND), page_size=_A_PAGE):
        named |= holding(page.kvs, texts)
        stored += page.kvs
    endpoints = Cluster(named, source_spoofing=spoofing).endpoints
    # OpenStack names a migration like the endpoint that it leads to.
    arriving = {kv.key.rpartition("/")[2] for kv in _all(client, LiveMigration)}
    running = where_they_run(endpoints, arriving)
    ends = matched(candidates(running, source), candidates(running, destination))
    own = [endpoints[end.endpoint] for end in ends if end.endpoint is not None]
    addresses = {text for end in ends for text in (end.address, end.floating) if text}
    workloads = {**named, **holding(stored, addresses.difference(texts))}
    for spec in (endpoint.spec for endpoint in own):
        on_host = [kv for kv in stored if is_on_host(kv.key, spec.node)]
        workloads |= holding(on_host, {spec.interface_name})
    resources = {**_near(workloads, ends), **decoded(_all(client, Profile))}
    for kind in _KINDS:
        resources |= decoded(_all(client, kind))
    labels = {label for endpoint in own for label in endpoint.metadata.labels}
    for value in resources.values():
        if isinstance(value, Profile):
            labels |= set(value.spec.labels_to_apply)
    resources |= decoded(kv for kv in _all(client, NetworkPolicy) if may_select(kv.value, labels))
    return Excerpt(*ends, resources, Cluster(resources, source_spoofing=spoofing))


def decoded(stored: Iterable[KeyValue]) -> Resources:
    """Return the resources among stored keys."""
    found: Resources = {}
    for kv in stored:
        key, value = parse_key(kv.key), decode(kv.key, kv.value)
        if isinstance(key, ResourceKey) and isinstance(value, Resource | Invalid):
            found[key] = value
    return found


def may_select(policy: bytes, labels: Collection[str]) -> bool:
    """Tell whether a stored policy may select something that has *labels* and no others."""
    try:
        selector = _PEEK.decode(policy).spec.selector
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return True
    needed = _HAS_LABEL.fullmatch(selector)
    return needed is None or needed[1] in labels


def _spoofing(client: EtcdClient) -> bool:
    stored = client.get(ResourceKey(FelixConfiguration.KIND, "default").path)
    configuration = decode(stored.key, stored.value) if stored else None
    return (
        isinstance(configuration, FelixConfiguration)
        and configuration.spec.get("workloadSourceSpoofing") == "Any"
    )


def _all(client: EtcdClient, cls: type[Resource]) -> Iterable[KeyValue]:
    return (kv for page in client.iterate_prefix(prefix_of(cls.KIND)) for kv in page.kvs)


def is_on_host(key: str, host: str) -> bool:
    """Tell whether the key of a workload endpoint is that of one on *host*."""
    return key.rpartition("/")[2].startswith(host.replace("-", "--") + "-")


def holding(stored: list[KeyValue], texts: Collection[str]) -> Resources:
    """Return the endpoints that contain one of *texts*, all of them if that cannot be told."""
    found: Resources = {}
    for trace in map(trace_of, texts):
        if trace is None:
            return decoded(stored)
        beginning = trace.beginning
        # The quick part is written out: it is asked of every endpoint.
        found |= decoded(kv for kv in stored if beginning in kv.value and trace.is_in(kv.value))
    return found


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

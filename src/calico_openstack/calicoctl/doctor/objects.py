"""What is stored in etcd, and whether it fits together. Pure."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from calico_openstack.calicoctl.doctor.findings import Finding, critical, warning
from calico_openstack.calicoctl.wording import groups_of
from calico_openstack.datamodel import (
    ClusterInformation,
    Invalid,
    NetworkPolicy,
    Node,
    Resource,
    ResourceKey,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.openstack import GROUP_POLICY
from calico_openstack.policy.addresses import pack_address, unpack_address

_SHOWN: Final = 3


class Stored(Struct, frozen=True):
    """Resources by key, and the hosts of which a Felix is *alive* or was ever *known*.

    *last_seen* is when a Felix that is not alive last was, by host.
    """

    resources: Mapping[ResourceKey, Resource | Invalid]
    alive: frozenset[str] = frozenset()
    last_seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> frozenset[str]:
        """All hosts that ever had a Felix."""
        return self.alive | self.last_seen.keys()


def judge(stored: Stored) -> Iterator[Finding]:
    """Yield what is wrong with what is stored."""
    yield from _readiness(stored)
    yield from _invalid(stored)
    yield from _felixes(stored)
    endpoints = {
        key: value for key, value in stored.resources.items() if isinstance(value, WorkloadEndpoint)
    }
    yield from _names(stored, endpoints)
    yield from _groups(stored, endpoints)
    yield from _duplicates(endpoints)
    yield from _nodes(stored, endpoints)


def _readiness(stored: Stored) -> Iterator[Finding]:
    found = stored.resources.get(ResourceKey(ClusterInformation.KIND, "default"))
    subject = "datastore"
    if not isinstance(found, ClusterInformation):
        remedy = "start neutron-periodic-workers, whose driver writes it"
        yield critical(subject, "ClusterInformation default is missing: no Felix starts", remedy)
    elif found.spec.datastore_ready is not True:
        remedy = "calicoctl datastore migrate unlock"
        yield critical(subject, "is locked: the hosts leave everything as it is", remedy)


def _invalid(stored: Stored) -> Iterator[Finding]:
    for value in stored.resources.values():
        if isinstance(value, Invalid):
            yield critical(
                value.path.removeprefix("/calico/resources/v3/projectcalico.org/"),
                f"cannot be used, and what it concerns stays closed: {value.reasons[0]}",
                "correct it with calicoctl apply, or have Neutron write it anew: calico-resync",
            )


def _felixes(stored: Stored) -> Iterator[Finding]:
    for host, time in sorted(stored.last_seen.items()):
        if host not in stored.alive:
            yield critical(
                host,
                f"calico-felix gives no sign of life since {time}: new ports are not served",
                f"on {host}: systemctl status calico-felix; journalctl -u calico-felix. A host "
                f"that is gone for good: openstack network agent delete",
            )


def _names(stored: Stored, endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> Iterator[Finding]:
    """Yield hosts that Neutron and the agents call differently."""
    counts = Counter(endpoint.spec.node for endpoint in endpoints.values())
    if not stored.known:
        return
    for host, count in sorted(counts.items()):
        if host in stored.known:
            continue
        near = similar(host, stored.known)
        ports = "port is" if count == 1 else "ports are"
        if near:
            yield critical(
                host,
                f"{count} {ports} bound to '{host}', but Felix there calls itself '{near}'",
                f"on it: FelixHostname = {host} in /etc/calico/felix.cfg (and Hostname of the "
                "other agents), or host = ... of nova.conf like Felix's name",
            )
        else:
            yield critical(
                host,
                f"{count} {ports} bound to '{host}', where no Felix was ever seen",
                f"install and start calico-felix on {host}, or move the instances",
            )


def similar(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant by one that is not known, "" if none is like it."""
    names = sorted(known)
    for other in names:
        if other.lower() == name.lower() or (
            other.partition(".")[0].lower() == name.partition(".")[0].lower()
        ):
            return other
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.95)), "")


def _groups(stored: Stored, endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> Iterator[Finding]:
    """Yield security groups of ports whose policy is missing."""
    policies = {key.name for key in stored.resources if key.kind == NetworkPolicy.KIND}
    missing: dict[str, int] = {}
    titles: dict[str, str] = {}
    bare = []
    for endpoint in endpoints.values():
        groups = groups_of(endpoint.metadata.labels)
        for policy, group in groups.items():
            if policy not in policies:
                missing[policy] = missing.get(policy, 0) + 1
                titles[policy] = group.title
        if not groups and not endpoint.spec.profiles:
            bare.append(endpoint.spec.endpoint)
    for policy, count in sorted(missing.items()):
        yield critical(
            titles[policy],
            f"has no NetworkPolicy in etcd: what its {count} port(s) need of it is denied",
            f"calico-resync writes it (id {policy.removeprefix(GROUP_POLICY)})",
        )
    if bare and not _selects_without_groups(stored):
        shown = ", ".join(bare[:_SHOWN])
        yield warning(
            "security groups",
            f"{len(bare)} port(s) have neither a group nor a profile, and nothing is allowed "
            f"to them: {shown}",
            "openstack port set --security-group GROUP PORT, if that is not meant",
        )


def _selects_without_groups(stored: Stored) -> bool:
    """Tell whether policies of the operator may be for ports that have no group."""
    return any(
        key.kind in ("GlobalNetworkPolicy", "NetworkPolicy")
        and not key.name.startswith(GROUP_POLICY)
        for key in stored.resources
    )


def _duplicates(endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> Iterator[Finding]:
    """Yield addresses that several ports have as their own; shared pairs are meant."""
    owners: dict[bytes, list[str]] = {}
    for endpoint in endpoints.values():
        spec = endpoint.spec
        for network in spec.ip_networks:
            if network not in spec.allowed_ips:
                owners.setdefault(pack_address(network), []).append(spec.endpoint)
    for packed, ports in owners.items():
        if len(ports) > 1:
            yield warning(
                str(unpack_address(packed)),
                f"is the address of {len(ports)} ports: {', '.join(sorted(ports)[:_SHOWN])}",
                "overlapping subnets are not supported: give one of them another address",
            )


def _nodes(stored: Stored, endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> Iterator[Finding]:
    """Yield missing Nodes: without them no mesh is built."""
    nodes = {key.name for key in stored.resources if key.kind == Node.KIND}
    used = {each.spec.node for each in endpoints.values() if each.spec.node in stored.alive}
    missing = sorted(used - nodes)
    if nodes and missing:
        shown = ", ".join(missing[:_SHOWN])
        yield warning(
            "nodes",
            f"{len(missing)} host(s) with ports have no Node, and no BGP sessions: {shown}",
            "start calico-bgp-agent there, which registers it; see journalctl -u calico-bgp-agent",
        )

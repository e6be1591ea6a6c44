"""Collects what is judged: asks etcd's members, reads all resources, asks all agents."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final

import msgspec

from calico_openstack.calicoctl.asking import ask_hosts, near_hosts
from calico_openstack.calicoctl.doctor import datastore, hosts, neutron, objects
from calico_openstack.calicoctl.doctor.findings import Finding, critical, warning
from calico_openstack.calicoctl.endpoint_scan import decoded
from calico_openstack.calicoctl.naming import directory_of, readable
from calico_openstack.datamodel import (
    AgentStatus,
    FelixStatusKey,
    LastReportedStatusKey,
    WorkloadEndpoint,
    decode,
    parse_key,
)
from calico_openstack.datamodel.comparison import (
    DRIVER_PREFIX,
    LastComparison,
    decode_last_comparison,
    region_of,
)
from calico_openstack.datamodel.keys import FELIX_STATUS_PREFIX, RESOURCE_PREFIX
from calico_openstack.etcd import EtcdClient, EtcdError

_A_PAGE: Final = 10_000
_HOSTS_AT_ONCE: Final = 50
_PATIENCE: Final = 5.0
_MEMBER_TIMEOUT: Final = 3.0
_SHOWN: Final = 3


def examine(
    client: EtcdClient,
    only: Collection[str] = (),
    audit: Callable[[], Iterable[Finding]] = tuple,
) -> Iterator[Finding]:
    """Yield everything that is wrong; of hosts, with *only* those of them.

    *audit* compares etcd with Neutron's database, meanwhile: it has to load Neutron.

    Raises `EtcdError` when etcd fails in the middle.
    """
    members = list(_members(client))
    yield from datastore.judge(members)
    if all(member.status is None for member in members):
        return
    with ThreadPoolExecutor(1) as pool:
        audited = pool.submit(lambda: list(audit()))
        yield from _with_names(client, only, audited)


def _with_names(
    client: EtcdClient, only: Collection[str], audited: Future[list[Finding]]
) -> Iterator[Finding]:
    stored = read(client)
    endpoints = (each for each in stored.resources.values() if isinstance(each, WorkloadEndpoint))
    names = directory_of(endpoints)
    for finding in (*_examine_stored(client, stored, only), *audited.result()):
        yield msgspec.structs.replace(
            finding,
            subject=readable(finding.subject, names),
            text=readable(finding.text, names),
        )


def _examine_stored(
    client: EtcdClient, stored: objects.Stored, only: Collection[str]
) -> Iterator[Finding]:
    """Yield what is wrong with what is stored and with hosts."""
    yield from objects.judge(stored)
    last = dict(_last_comparisons(client))
    yield from neutron.judge(last, time.time())
    names = sorted(stored.alive if not only else stored.alive & set(only))
    for unknown in sorted(set(only) - stored.known):
        near = near_hosts(unknown, stored.known)
        hint = f"did you mean {near}?" if near else "calicoctl get nodes lists the hosts"
        yield critical(unknown, "no Felix was ever seen on a host of this name", hint)
    versions: dict[str, list[str]] = {}
    waiting = iter(names)
    while some := list(islice(waiting, _HOSTS_AT_ONCE)):
        for found in ask_all(client, some):
            yield from hosts.judge(found)
            for row in found.rows("host"):
                if row["what"] == "version":
                    versions.setdefault(row["value"], []).append(found.host)
    for region, comparison in last.items():
        versions.setdefault(comparison.version, []).append(f"Neutron {region}")
    if len(versions) > 1:
        told = "; ".join(f"{version} on {_some(on)}" for version, on in sorted(versions.items()))
        yield warning("versions", f"different versions run: {told}", "finish the upgrade")


def _some(places: Sequence[str]) -> str:
    rest = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _last_comparisons(client: EtcdClient) -> Iterator[tuple[str, LastComparison]]:
    for kv in client.get_prefix(DRIVER_PREFIX).kvs:
        found = decode_last_comparison(kv.value)
        if (region := region_of(kv.key)) and found is not None:
            yield region, found


def read(client: EtcdClient) -> objects.Stored:
    """Read all resources, and the signs of life of all Felixes."""
    pages = client.iterate_prefix(RESOURCE_PREFIX, page_size=_A_PAGE)
    resources = decoded(kv for page in pages for kv in page.kvs)
    alive: set[str] = set()
    seen: dict[str, str] = {}
    for page in client.iterate_prefix(FELIX_STATUS_PREFIX, page_size=_A_PAGE, keys_only=True):
        for kv in page.kvs:
            key = parse_key(kv.key)
            if isinstance(key, FelixStatusKey):
                alive.add(key.host)
            elif isinstance(key, LastReportedStatusKey):
                seen[key.host] = key.path
    last_seen = {host: _time(client, path) for host, path in seen.items() if host not in alive}
    return objects.Stored(resources, frozenset(alive), last_seen)


def _time(client: EtcdClient, path: str) -> str:
    kv = client.get(path)
    status = decode(kv.key, kv.value) if kv else None
    return status.time if isinstance(status, AgentStatus) else "an unknown time"


def ask_all(client: EtcdClient, names: Collection[str]) -> Iterator[hosts.HostAnswers]:
    """Ask hosts everything that `hosts.judge` wants to know."""
    questions = [(host, asked.question) for host in names for asked in hosts.QUESTIONS]
    answers = iter(ask_hosts(client, questions, _PATIENCE))
    now = time.time()
    for host in names:
        found = {asked.name: next(answers) for asked in hosts.QUESTIONS}
        yield hosts.HostAnswers(host, found, now)


def _members(client: EtcdClient) -> Iterator[datastore.Member]:
    for endpoint in client.config.endpoints:
        config = msgspec.structs.replace(client.config, endpoints=(endpoint,))
        with EtcdClient(config) as single:
            began = time.monotonic()
            try:
                single.get("/calico/doctor")
                seconds = time.monotonic() - began
                yield datastore.Member(endpoint, single.status(), seconds)
            except EtcdError as error:
                yield datastore.Member(endpoint, error=str(error))

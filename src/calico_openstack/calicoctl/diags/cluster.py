"""What etcd holds, and what the agents of all hosts say, through etcd."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from calico_openstack.agent.introspection.protocol import INTROSPECTION_PREFIX
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.calicoctl.diags.archive import Archive
from calico_openstack.calicoctl.diags.tables import collect_tables
from calico_openstack.calicoctl.doctor.examination import examine
from calico_openstack.calicoctl.doctor.findings import lines
from calico_openstack.calicoctl.kinds import NAMESPACE_COLUMN, presentation_of
from calico_openstack.calicoctl.store import Store
from calico_openstack.datamodel import Resource
from calico_openstack.datamodel.keys import RESOURCE_PREFIX
from calico_openstack.datamodel.kinds import RESOURCE_TYPES
from calico_openstack.etcd import EtcdClient, EtcdError

_PATIENCE: Final = 8.0  # seconds; the questions' lease outlives it
_EVERYTHING: Final = "/calico/"
# Some kinds have a file for each of so many objects, that an archive of a large cloud can be read.
_OBJECTS_IN_A_FILE: Final = 5000


def collect_datastore(archive: Archive, client: EtcdClient) -> None:
    """Add etcd's health, and all that it holds below ``/calico/``; raises `EtcdError`."""
    archive.report("asking etcd")
    status = client.status()
    archive.add("etcd/status", f"{output.as_yaml(_members_of(status))}\n")
    invalid: list[str] = []
    store = Store(client, invalid.append)
    for cls in RESOURCE_TYPES:
        archive.report(f"reading {cls.PLURAL}")
        _collect_kind(archive, store, cls)
    archive.add("resources/invalid", "".join(f"{line}\n" for line in invalid))
    archive.report("reading other keys")
    archive.add("etcd/other_keys", "".join(f"{line}\n" for line in _other_keys(client)))


def collect_findings(archive: Archive, client: EtcdClient, hosts: Collection[str]) -> None:
    """Add what doctor finds."""
    archive.report("looking for faults (calicoctl doctor)")
    try:
        text = "\n".join(lines(list(examine(client, hosts)))) or "No faults found."
    except EtcdError as error:
        text = f"etcd failed in the middle: {error}"
    archive.add("doctor", f"{text}\n")


def collect_hosts(archive: Archive, client: EtcdClient, hosts: Sequence[str], many: int) -> None:
    """Add the tables of all agents of *hosts*, of *many* hosts at a time."""
    waiting = iter(hosts)
    while some := list(itertools.islice(waiting, many)):
        collect_tables(archive, some, lambda asked: ask_hosts(client, asked, _PATIENCE), "hosts")


def _members_of(status: object) -> dict[str, str]:
    names = ("version", "member_id", "leader", "revision", "raft_term", "raft_applied_index")
    sizes = ("db_size", "db_size_in_use", "db_size_quota", "errors")
    return {name: str(getattr(status, name)) for name in (*names, *sizes)}


def _collect_kind(archive: Archive, store: Store, cls: type[Resource]) -> None:
    columns = presentation_of(cls.KIND).wide
    if cls.NAMESPACED:
        columns = (NAMESPACE_COLUMN, *columns)
    found = (output.as_row(resource) for resource in store.listed(cls))
    for number in itertools.count():
        rows = list(itertools.islice(found, _OBJECTS_IN_A_FILE))
        if not rows:
            return
        name = cls.PLURAL if not number else f"{cls.PLURAL}-{number + 1}"
        archive.add(f"resources/{name}.yaml", f"{output.as_yaml(output.as_list(cls.KIND, rows))}\n")
        archive.add(f"resources/{name}", "\n".join(output.table(rows, columns)))


def _other_keys(client: EtcdClient) -> Iterator[str]:
    for page in client.iterate_prefix(_EVERYTHING):
        for kv in page.kvs:
            if kv.key.startswith((RESOURCE_PREFIX, INTROSPECTION_PREFIX)):
                continue
            value = kv.value.decode(errors="replace")
            lease = f" lease {kv.lease:x}" if kv.lease else ""
            yield f"{kv.key} revision {kv.mod_revision}{lease}\n  {value}"

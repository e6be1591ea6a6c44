"""``datastore``: locking it for a migration, and its backup."""

from __future__ import annotations

from typing import Final

import click
import msgspec

from calico_openstack.calicoctl import backup as backups
from calico_openstack.calicoctl import failures
from calico_openstack.calicoctl.command_line import CONFIG, fail, open_client, open_store
from calico_openstack.calicoctl.documents import DocumentError
from calico_openstack.calicoctl.store import Store, StoreError
from calico_openstack.datamodel import (
    ClusterInformation,
    Invalid,
    Resource,
    ResourceKey,
    as_written,
    decode,
    encode,
    prefix_of,
)
from calico_openstack.datamodel.keys import RESOURCE_PREFIX

# What agents write about themselves is no part of a backup.
_STATE: Final = prefix_of("CalicoNodeStatus")
_INFORMATION: Final = ResourceKey(ClusterInformation.KIND, "default")


@click.group()
def datastore() -> None:
    """Lock the datastore, back it up and restore it."""


@datastore.group()
def migrate() -> None:
    """Stop and resume all agents' work around a migration."""


@migrate.command()
@CONFIG
def lock(config: str) -> None:
    """Let all agents leave everything as it is until the datastore is unlocked."""
    _set_ready(open_store(config), ready=False)
    click.echo("Datastore locked.")


@migrate.command()
@CONFIG
def unlock(config: str) -> None:
    """Let all agents work again."""
    _set_ready(open_store(config), ready=True)
    click.echo("Datastore unlocked.")


def _set_ready(store: Store, *, ready: bool) -> None:
    store.initialise()
    found = store.read(_INFORMATION)
    if isinstance(found, ClusterInformation) and found.spec.datastore_ready is not ready:
        spec = msgspec.structs.replace(found.spec, datastore_ready=ready)
        store.replace(msgspec.structs.replace(found, spec=spec))


@datastore.command()
@click.option("--with-workloads", is_flag=True, help="Also what Neutron writes again by itself.")
@CONFIG
def backup(with_workloads: bool, config: str) -> None:
    """Write all resources, as they were at one moment, to standard output."""
    kinds = {*backups.KINDS, ClusterInformation.KIND}
    kinds.update(backups.WORKLOAD_KINDS if with_workloads else ())
    resources: list[Resource] = []
    lost = 0
    for page in open_client(config).iterate_prefix(RESOURCE_PREFIX):
        for kv in page.kvs:
            value = decode(kv.key, kv.value)
            if kv.key.startswith(_STATE):
                continue
            if isinstance(value, Resource):
                if value.KIND in kinds:
                    resources.append(value)
            else:
                reason = str(value) if isinstance(value, Invalid) else f"{kv.key}: unknown kind"
                click.echo(f"not in the backup: {reason}", err=True)
                lost += 1
    for line in backups.written(resources):
        click.echo(line)
    if lost:
        fail(f"{lost} object(s) are not in the backup; correct or delete them and repeat it")


@datastore.command()
@click.option("-f", "--filename", required=True, help="A file that backup wrote, or -.")
@click.option("--overwrite", is_flag=True, help="Replace resources that exist.")
@CONFIG
def restore(filename: str, overwrite: bool, config: str) -> None:
    """Write the resources of a backup; those that exist stay as they are unless told otherwise."""
    text = _text(filename)
    resources = backups.read(text, filename)
    client = open_client(config)
    done, kept = 0, []
    for resource in resources:
        metadata = msgspec.structs.replace(resource.metadata, resource_version="")
        stored = encode(as_written(msgspec.structs.replace(resource, metadata=metadata)))
        key = ResourceKey(resource.KIND, metadata.name, metadata.namespace)
        if overwrite:
            client.put(key.path, stored)
        elif client.put_if_unchanged(key.path, stored, 0) is None:
            kept.append(key)
            continue
        done += 1
    click.echo(f"Successfully restored {done} resource(s)")
    differing = [key for key in kept if key != _INFORMATION]
    if differing:
        names = " ".join(f"{key.kind}({key.name})" for key in differing)
        raise StoreError(
            f"{len(differing)} resource(s) existed and were left as they are (--overwrite replaces "
            f"them): [{names}]"
        )


def _text(filename: str) -> str:
    try:
        with click.open_file(filename) as stream:
            return str(stream.read())
    except (OSError, UnicodeError) as error:
        raise DocumentError(failures.of_file(filename, error)) from None

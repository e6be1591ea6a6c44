"""``create``, ``apply``, ``replace``, ``delete`` and ``validate``: whole resources."""

from __future__ import annotations

from collections.abc import Callable

import click

from calico_openstack.calicoctl.command_line import (
    CONFIG,
    FILE,
    NAMESPACE,
    RECURSIVE,
    open_store,
    tell,
)
from calico_openstack.calicoctl.documents import read_resources
from calico_openstack.calicoctl.kinds import READ_ONLY, complete_kind, kind_named
from calico_openstack.calicoctl.node_deletion import CASCADES, delete_node
from calico_openstack.calicoctl.store import ExistsError, MissingError, Store, StoreError, key_for
from calico_openstack.datamodel import Node, Resource, ResourceKey
from calico_openstack.etcd import EtcdError


def _write(
    verb: str,
    filename: str,
    recursive: bool,
    config: str,
    action: Callable[[Store, Resource], None],
) -> None:
    """Do *action* for each resource of the input; go on after failures and tell them at the end."""
    resources = read_resources(filename, recursive=recursive)
    store = open_store(config)
    errors: list[str] = []
    done = 0
    for resource in resources:
        try:
            if resource.KIND in READ_ONLY:
                raise StoreError(f"operation {verb} is not supported on {resource.KIND}")
            action(store, resource)
            done += 1
        except (StoreError, EtcdError) as error:
            errors.append(str(error))
    tell(verb, done, {resource.KIND for resource in resources}, errors)


@click.command()
@FILE
@RECURSIVE
@CONFIG
@click.option("--skip-exists", is_flag=True, help="Leave existing resources as they are.")
def create(filename: str, recursive: bool, config: str, skip_exists: bool) -> None:
    """Create the resources in a file."""

    def action(store: Store, resource: Resource) -> None:
        store.initialise()
        try:
            store.create(resource)
        except ExistsError:
            if not skip_exists:
                raise

    _write("create", filename, recursive, config, action)


@click.command()
@FILE
@RECURSIVE
@CONFIG
def apply(filename: str, recursive: bool, config: str) -> None:
    """Create or update the resources in a file."""

    def action(store: Store, resource: Resource) -> None:
        store.initialise()
        store.apply(resource)

    _write("apply", filename, recursive, config, action)


@click.command()
@FILE
@RECURSIVE
@CONFIG
def replace(filename: str, recursive: bool, config: str) -> None:
    """Update existing resources from a file."""
    _write("replace", filename, recursive, config, Store.replace)


@click.command()
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.argument("names", nargs=-1)
@click.option("-f", "--filename", default="", help="File, directory, or - for standard input.")
@click.option("-s", "--skip-not-exists", is_flag=True, help="Absent resources are no error.")
@click.option("--force", is_flag=True, help="Delete a node although it has instances.")
@click.option(
    "--cascade",
    default="bgp",
    show_default=True,
    type=click.Choice(CASCADES),
    help="With a node: nothing more, its BGP resources, or its endpoints too.",
)
@RECURSIVE
@NAMESPACE
@CONFIG
def delete(
    *,
    kind: str | None,
    names: tuple[str, ...],
    filename: str,
    skip_not_exists: bool,
    force: bool,
    cascade: str,
    recursive: bool,
    namespace: str,
    config: str,
) -> None:
    """Remove the resources of KIND with NAMES, or those in a file."""

    def remove(store: Store, key: ResourceKey, version: str = "") -> None:
        if key.kind in READ_ONLY:
            raise StoreError(f"operation delete is not supported on {key.kind}")
        try:
            if key.kind == Node.KIND:
                delete_node(store, key, version, cascade, force)
            else:
                store.delete(key, version)
        except MissingError:
            if not skip_not_exists:
                raise

    if filename:

        def action(store: Store, resource: Resource) -> None:
            metadata = resource.metadata
            key = ResourceKey(resource.KIND, metadata.name, metadata.namespace)
            remove(store, key, metadata.resource_version)

        _write("delete", filename, recursive, config, action)
        return
    if not kind or not names:
        raise StoreError("name a KIND and at least one NAME, or give a file with -f")
    cls = kind_named(kind)
    store = open_store(config)
    errors: list[str] = []
    for name in names:
        try:
            remove(store, key_for(cls, name, namespace or "default"))
        except StoreError as error:
            errors.append(str(error))
    tell("delete", len(names) - len(errors), {cls.KIND}, errors)


@click.command()
@FILE
@RECURSIVE
def validate(filename: str, recursive: bool) -> None:
    """Check the resources in a file; needs no datastore."""
    resources = read_resources(filename, recursive=recursive)
    tell("validate", len(resources), {resource.KIND for resource in resources}, [])

"""The command line: ``calicoctl``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

import calico_openstack
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.connection import DEFAULT_FILE, connection_config
from calico_openstack.calicoctl.documents import read_resources
from calico_openstack.calicoctl.kinds import (
    READ_ONLY,
    Column,
    Row,
    kind_named,
    presentation_of,
)
from calico_openstack.calicoctl.store import ExistsError, MissingError, Store, StoreError, key_for
from calico_openstack.datamodel import ClusterInformation, Resource, ResourceKey
from calico_openstack.etcd import EtcdClient, EtcdError

_FILE: Final = click.option(
    "-f", "--filename", required=True, help="File, directory, or - for standard input."
)
_RECURSIVE: Final = click.option("-R", "--recursive", is_flag=True, help="Sub-directories too.")
_CONFIG: Final = click.option(
    "-c", "--config", default=DEFAULT_FILE, show_default=True, help="Connection file."
)
_NAMESPACE: Final = click.option("-n", "--namespace", default="", help="Namespace (default).")


def main() -> None:
    """Run the command; every foreseeable failure is one message and exit status 1."""
    try:
        cli.main(standalone_mode=False)
    except (EtcdError, StoreError, ValueError) as error:
        # ValueError: a document, a kind or the connection's configuration is not usable.
        _fail(str(error))
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing more can be written to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> None:
    click.echo(message, err=True)
    sys.exit(1)


def _store(config: str) -> Store:
    client = EtcdClient(connection_config(config, os.environ))
    return Store(client, lambda line: click.echo(line, err=True))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Read and write Calico's resources in etcd."""


@cli.command()
@click.argument("kind")
@click.argument("names", nargs=-1)
@click.option("-o", "--output", "form", default="ps", type=click.Choice(output.FORMATS))
@click.option("-A", "-a", "--all-namespaces", is_flag=True, help="List every namespace.")
@click.option("--export", is_flag=True, help="Without what belongs to this datastore.")
@_NAMESPACE
@_CONFIG
def get(
    *,
    kind: str,
    names: tuple[str, ...],
    form: str,
    all_namespaces: bool,
    export: bool,
    namespace: str,
    config: str,
) -> None:
    """Show all resources of KIND, or those with NAMES."""
    cls = kind_named(kind)
    if not cls.NAMESPACED and (namespace or all_namespaces):
        raise StoreError(f"{cls.KIND} is not namespaced")
    if names and all_namespaces:
        raise StoreError("a name and --all-namespaces cannot be given together")
    store = _store(config)
    scope = "" if all_namespaces or not cls.NAMESPACED else namespace or "default"
    missing: list[str] = []
    found: Iterable[Resource] = store.listed(cls, scope)
    if names:
        found = _each(store, (key_for(cls, name, scope) for name in names), missing)
    rows = (output.as_row(resource) for resource in found)
    if export and names:
        rows = (output.exported(row) for row in rows)
    with_namespace = bool(namespace or all_namespaces) and cls.NAMESPACED
    _show(cls, rows, form, single=len(names) == 1, with_namespace=with_namespace)
    if missing:
        _fail(f"failed to get resources: [{' '.join(missing)}]")


def _each(store: Store, keys: Iterable[ResourceKey], missing: list[str]) -> Iterable[Resource]:
    for key in keys:
        try:
            yield store.read(key)
        except StoreError as error:
            missing.append(str(error))


def _show(
    cls: type[Resource],
    rows: Iterable[Row],
    form: str,
    *,
    single: bool,
    with_namespace: bool,
) -> None:
    if form in ("ps", "table", "wide"):
        presentation = presentation_of(cls.KIND)
        columns = presentation.wide if form == "wide" else presentation.columns
        if with_namespace:
            heading = Column("NAMESPACE", lambda row: row["metadata"].get("namespace", ""))
            columns = (heading, *columns)
        for line in output.table(rows, columns):
            click.echo(line)
        return
    if form == "name":
        for row in rows:
            click.echo(f"{cls.PLURAL}/{row['metadata']['name']}")
        return
    value: Any = list(rows)
    if single and not value:
        return
    value = value[0] if single else output.as_list(cls.KIND, value)
    if form == "json":
        click.echo(output.as_json(value), nl=False)
    else:
        click.echo(output.as_yaml(value))


def _write(
    verb: str,
    filename: str,
    recursive: bool,
    config: str,
    action: Callable[[Store, Resource], None],
) -> None:
    """Do *action* for each resource of the input; go on after failures and tell them at the end."""
    resources = read_resources(filename, recursive=recursive)
    store = _store(config)
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
    _tell(verb, done, {resource.KIND for resource in resources}, errors)


_PAST: Final = {
    "create": "created",
    "apply": "applied",
    "replace": "replaced",
    "delete": "deleted",
    "validate": "validated",
}


def _tell(verb: str, done: int, kinds: set[str], errors: list[str]) -> None:
    kind = f" '{next(iter(kinds))}'" if len(kinds) == 1 else ""
    if not errors and not done:
        click.echo("No resources specified")
        return
    if not errors:
        click.echo(f"Successfully {_PAST[verb]} {done}{kind} resource(s)")
        return
    listed = f"[{' '.join(errors)}]"
    if done:
        click.echo(f"Partial success: {_PAST[verb]} {done}{kind} resource(s)")
        _fail(f"hit error: {listed}")
    _fail(f"failed to {verb}{kind} resource: {listed}")


@cli.command()
@_FILE
@_RECURSIVE
@_CONFIG
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


@cli.command()
@_FILE
@_RECURSIVE
@_CONFIG
def apply(filename: str, recursive: bool, config: str) -> None:
    """Create or update the resources in a file."""

    def action(store: Store, resource: Resource) -> None:
        store.initialise()
        store.apply(resource)

    _write("apply", filename, recursive, config, action)


@cli.command()
@_FILE
@_RECURSIVE
@_CONFIG
def replace(filename: str, recursive: bool, config: str) -> None:
    """Update existing resources from a file."""
    _write("replace", filename, recursive, config, Store.replace)


@cli.command()
@click.argument("kind", required=False)
@click.argument("names", nargs=-1)
@click.option("-f", "--filename", default="", help="File, directory, or - for standard input.")
@click.option("-s", "--skip-not-exists", is_flag=True, help="Absent resources are no error.")
@_RECURSIVE
@_NAMESPACE
@_CONFIG
def delete(
    *,
    kind: str | None,
    names: tuple[str, ...],
    filename: str,
    skip_not_exists: bool,
    recursive: bool,
    namespace: str,
    config: str,
) -> None:
    """Remove the resources of KIND with NAMES, or those in a file."""

    def remove(store: Store, key: ResourceKey, version: str = "") -> None:
        if key.kind in READ_ONLY:
            raise StoreError(f"operation delete is not supported on {key.kind}")
        try:
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
    store = _store(config)
    errors: list[str] = []
    for name in names:
        try:
            remove(store, key_for(cls, name, namespace or "default"))
        except StoreError as error:
            errors.append(str(error))
    _tell("delete", len(names) - len(errors), {cls.KIND}, errors)


@cli.command()
@_FILE
@_RECURSIVE
def validate(filename: str, recursive: bool) -> None:
    """Check the resources in a file; needs no datastore."""
    resources = read_resources(filename, recursive=recursive)
    _tell("validate", len(resources), {resource.KIND for resource in resources}, [])


@cli.command()
@click.option("--client", is_flag=True, help="Do not ask the datastore.")
@_CONFIG
def version(client: bool, config: str) -> None:
    """Show this command's version and the cluster's."""
    click.echo(f"{'Client Version:':<19}v{calico_openstack.__version__}")
    if client:
        return
    try:
        found = _store(config).read(ResourceKey(ClusterInformation.KIND, "default"))
    except (EtcdError, StoreError) as error:
        click.echo(f"the cluster's version is not known: {error}", err=True)
        return
    if isinstance(found, ClusterInformation):
        click.echo(f"{'Cluster Version:':<19}{found.spec.calico_version or 'unknown'}")
        click.echo(f"{'Cluster Type:':<19}{found.spec.cluster_type or 'unknown'}")

"""``patch`` and ``label``: changes of resources that stay where they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import click

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import CONFIG, NAMESPACE, open_store, tell
from calico_openstack.calicoctl.documents import resource_of, value_in
from calico_openstack.calicoctl.kinds import READ_ONLY, Row, complete_kind, kind_named
from calico_openstack.calicoctl.labelling import LabelChange, changed_labels, parse_changes
from calico_openstack.calicoctl.patches import PATCHES
from calico_openstack.calicoctl.store import ConflictError, Store, StoreError, key_for
from calico_openstack.datamodel import ResourceKey

_TRIES: Final = 5
_PAUSE: Final = 0.2  # seconds


@click.command()
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name")
@click.option("-p", "--patch", "text", required=True, help="The patch, JSON or YAML.")
@click.option(
    "-t",
    "--type",
    "form",
    default="strategic",
    show_default=True,
    type=click.Choice(list(PATCHES)),
    help="strategic; merge: RFC 7396; json: RFC 6902.",
)
@NAMESPACE
@CONFIG
def patch(*, kind: str, name: str, text: str, form: str, namespace: str, config: str) -> None:
    """Change members of a resource, for example -p '{"spec": {"order": 10}}'."""
    cls = kind_named(kind)
    change = value_in(text, "patch")
    key = key_for(cls, name, namespace or "default")
    _change(open_store(config), "patch", key, lambda row: PATCHES[form](row, change))
    tell("patch", 1, {cls.KIND}, [])


@click.command()
@click.argument("kind", shell_complete=complete_kind)
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--overwrite", is_flag=True, help="Change labels that have another value.")
@click.option("--remove", is_flag=True, help="Remove labels; only their keys are given.")
@NAMESPACE
@CONFIG
def label(
    *,
    kind: str,
    name: str,
    labels: tuple[str, ...],
    overwrite: bool,
    remove: bool,
    namespace: str,
    config: str,
) -> None:
    """Set or remove labels of a resource."""
    cls = kind_named(kind)
    changes = parse_changes(labels, remove=remove)
    key = key_for(cls, name, namespace or "default")
    done: list[LabelChange] = []

    def change(row: Row) -> Row:
        metadata = row["metadata"]
        after, told = changed_labels(metadata.get("labels") or {}, changes, overwrite=overwrite)
        done[:] = told
        return {**row, "metadata": {**metadata, "labels": after}}

    _change(open_store(config), "label", key, change)
    for each in done:
        click.echo(f"Successfully {each.past} label {each.key} on {cls.KIND} {name}")


def _change(store: Store, verb: str, key: ResourceKey, change: Callable[[Row], Row]) -> None:
    """Read, change and write a resource, again when somebody else wrote in between."""
    if key.kind in READ_ONLY:
        raise StoreError(f"operation {verb} is not supported on {key.kind}")
    for attempt in range(_TRIES):
        before = output.as_row(store.read(key))
        after = change(before)
        version = before["metadata"].get("resourceVersion", "")
        name = f"{key.namespace}/{key.name}" if key.namespace else key.name
        resource = resource_of(after, f"{key.kind}({name})")
        metadata = resource.metadata
        if ResourceKey(resource.KIND, metadata.name, metadata.namespace) != key:
            raise StoreError(f"{verb} cannot change kind, name or namespace of a resource")
        try:
            store.replace(resource, version if metadata.resource_version == version else "")
        except ConflictError:
            if attempt == _TRIES - 1 or metadata.resource_version != version:
                raise
            time.sleep(_PAUSE)
        else:
            return

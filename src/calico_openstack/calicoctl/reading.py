"""``get``: shows resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from calico_openstack.calicoctl import output, watching
from calico_openstack.calicoctl.command_line import CONFIG, NAMESPACE, fail, open_client, open_store
from calico_openstack.calicoctl.kinds import (
    NAMESPACE_COLUMN,
    Column,
    Row,
    columns_named,
    complete_kind,
    kind_named,
    presentation_of,
)
from calico_openstack.calicoctl.store import Store, StoreError, key_for
from calico_openstack.datamodel import Resource, ResourceKey, prefix_of
from calico_openstack.datamodel.selector import SelectorError, parse


@click.command()
@click.argument("kind", shell_complete=complete_kind)
@click.argument("names", nargs=-1)
@click.option(
    "-o",
    "--output",
    "form",
    default="ps",
    help="ps, wide, yaml, json, name, custom-columns=HEADING,... (default: ps)",
)
@click.option("-A", "-a", "--all-namespaces", is_flag=True, help="List every namespace.")
@click.option("-l", "--selector", default="", help="Only resources whose labels match.")
@click.option("-w", "--watch", is_flag=True, help="Go on with changes as they happen.")
@click.option("--export", is_flag=True, help="Without what belongs to this datastore.")
@NAMESPACE
@CONFIG
def get(
    *,
    kind: str,
    names: tuple[str, ...],
    form: str,
    all_namespaces: bool,
    selector: str,
    watch: bool,
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
    with_namespace = bool(namespace or all_namespaces) and cls.NAMESPACED
    form, columns = _presentation(cls, form, with_namespace=with_namespace)
    chosen = _chooser(selector)
    store = open_store(config)
    scope = "" if all_namespaces or not cls.NAMESPACED else namespace or "default"
    if watch:
        watched = prefix_of(cls.KIND, scope)
        keys = {key_for(cls, name, scope) for name in names}
        watching.follow(open_client(config), watched, keys, chosen, watching.Printer(form, columns))
        return
    missing: list[str] = []
    found: Iterable[Resource] = store.listed(cls, scope)
    if names:
        found = _each(store, (key_for(cls, name, scope) for name in names), missing)
    rows = (output.as_row(resource) for resource in found if chosen(resource))
    if export and names:
        rows = (output.exported(row) for row in rows)
    _show(cls, rows, form, columns, single=len(names) == 1)
    if missing:
        fail(f"failed to get resources: [{' '.join(missing)}]")


def _presentation(
    cls: type[Resource], form: str, *, with_namespace: bool
) -> tuple[str, tuple[Column, ...]]:
    """Return the plain name of the output format, and the columns if it is a table."""
    presentation = presentation_of(cls.KIND)
    form, equals, headings = form.partition("=")
    if form == "custom-columns" and equals:
        return "ps", columns_named(cls, headings.split(","))
    if equals or form not in output.FORMATS:
        raise StoreError(
            f"output format '{form}' is not supported: use {', '.join(output.FORMATS)} or "
            "custom-columns=HEADING,..."
        )
    columns = presentation.wide if form == "wide" else presentation.columns
    if with_namespace:
        columns = (NAMESPACE_COLUMN, *columns)
    return "ps" if form in ("table", "wide") else form, columns


def _chooser(selector: str) -> Callable[[Resource], bool]:
    if not selector:
        return lambda resource: True
    try:
        parsed = parse(selector)
    except SelectorError as error:
        raise StoreError(f"selector '{selector}': {error}") from None
    return lambda resource: parsed.matches(resource.metadata.labels)


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
    columns: tuple[Column, ...],
    *,
    single: bool,
) -> None:
    if form == "ps":
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

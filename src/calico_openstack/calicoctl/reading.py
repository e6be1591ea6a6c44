"""``get``: shows resources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import click

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import (
    AS,
    CONFIG,
    NAMESPACE,
    RECURSIVE,
    fail,
    open_client,
    open_store,
)
from calico_openstack.calicoctl.kinds import (
    NAMESPACE_COLUMN,
    Column,
    Row,
    columns_named,
    complete_kind,
    kind_named,
    presentation_of,
)
from calico_openstack.calicoctl.sorting import in_order
from calico_openstack.calicoctl.store import MissingError, Store, StoreError, key_for
from calico_openstack.datamodel import Resource, ResourceKey, WorkloadEndpoint, prefix_of
from calico_openstack.datamodel.selector import SelectorError, parse

# What is shown line by line, by the members that a table has.
_TABLES: Final = frozenset({"ps", "name"})


@click.command()
@click.argument("kind", default="", shell_complete=complete_kind)
@click.argument("names", nargs=-1)
@click.option("-f", "--filename", default="", help="Show what a file, directory or - names.")
@click.option(
    "-o",
    "--output",
    "form",
    default="ps",
    help="ps, wide, yaml, json, name, custom-columns=HEADING,... (default: ps)",
)
@click.option("-A", "-a", "--all-namespaces", is_flag=True, help="List every namespace.")
@click.option("-l", "--selector", default="", help="Only resources whose labels match.")
@click.option("--sort-by", default="", help="A column's heading, or a member as .spec.order.")
@click.option("-w", "--watch", is_flag=True, help="Go on with changes as they happen.")
@click.option("--export", is_flag=True, help="Without what belongs to this datastore.")
@RECURSIVE
@NAMESPACE
@AS
@CONFIG
def get(
    *,
    kind: str,
    names: tuple[str, ...],
    filename: str,
    form: str,
    all_namespaces: bool,
    selector: str,
    sort_by: str,
    watch: bool,
    export: bool,
    recursive: bool,
    namespace: str,
    config: str,
) -> None:
    """Show all resources of KIND, those with NAMES, or those that a file names."""
    if watch and (sort_by or filename):
        raise StoreError("--watch shows changes as they come: leave out --sort-by and --filename")
    chosen = _chooser(selector)
    if filename:
        if kind or namespace or all_namespaces:
            raise StoreError("the file says what to show: leave out KIND, -n and -A, or -f")
        _get_named_in(filename, recursive, _Wish(form, chosen, sort_by, export), config)
        return
    if not kind:
        raise StoreError("name a KIND (for example: calicoctl get nodes), or give a file with -f")
    cls = kind_named(kind)
    if not cls.NAMESPACED and (namespace or all_namespaces):
        raise StoreError(f"{cls.KIND} is not namespaced")
    if names and all_namespaces:
        raise StoreError("a name and --all-namespaces cannot be given together")
    with_namespace = bool(namespace or all_namespaces) and cls.NAMESPACED
    form, columns = _presentation(cls, form, with_namespace=with_namespace)
    store = open_store(config)
    scope = "" if all_namespaces or not cls.NAMESPACED else namespace or "default"
    if watch:
        from calico_openstack.calicoctl import watching  # noqa: PLC0415 - for this option only

        watched = prefix_of(cls.KIND, scope)
        keys = {key_for(cls, name, scope) for name in names}
        watching.follow(open_client(config), watched, keys, chosen, watching.Printer(form, columns))
        return
    missing: list[str] = []
    wish = _Wish(form, chosen, sort_by, export and bool(names))
    if names:
        wanted = (key_for(cls, name, scope) for name in names)
        found = _each(store, wanted, missing, _namesakes(config, namespace))
        rows = wish.rows(found, cls)
    elif form in _TABLES and not sort_by:
        from calico_openstack.calicoctl import quick_rows  # noqa: PLC0415 - for lists only

        rows = filter(wish.shows, quick_rows.rows(store, cls, scope))
    else:
        rows = wish.rows(store.listed(cls, scope), cls)
    _show(cls, rows, form, columns, single=len(names) == 1)
    _tell_missing(missing)


class _Wish(NamedTuple):
    """Which of the resources found are shown, in which order and form."""

    form: str
    chosen: Callable[[Mapping[str, str]], bool]
    sort_by: str
    export: bool

    def shows(self, row: Row) -> bool:
        return self.chosen(row["metadata"].get("labels", {}))

    def rows(self, found: Iterable[Resource], cls: type[Resource]) -> Iterable[Row]:
        chosen = self.chosen
        rows: Iterable[Row] = (output.as_row(e) for e in found if chosen(e.metadata.labels))
        if self.export:
            rows = map(output.exported, rows)
        return in_order(rows, cls, self.sort_by) if self.sort_by else rows


def _get_named_in(filename: str, recursive: bool, wish: _Wish, config: str) -> None:
    """Show the stored state of what a file names, one kind after the other."""
    from calico_openstack.calicoctl.documents import read_resources  # noqa: PLC0415 - loads YAML

    wanted: dict[type[Resource], list[ResourceKey]] = {}
    for resource in read_resources(filename, recursive=recursive):
        key = ResourceKey(resource.KIND, resource.metadata.name, resource.metadata.namespace)
        wanted.setdefault(type(resource), []).append(key)
    if not wanted:
        click.echo("No resources specified")
        return
    # A format that is not supported must be refused before anything is shown.
    shapes = {cls: _presentation(cls, wish.form, with_namespace=cls.NAMESPACED) for cls in wanted}
    store = open_store(config)
    missing: list[str] = []
    everything: list[Row] = []
    for cls, keys in wanted.items():
        plain, columns = shapes[cls]
        rows = list(wish.rows(_each(store, keys, missing), cls))
        if plain in ("ps", "name"):
            _show(cls, rows, plain, columns, single=False)
        everything += rows
    if plain not in ("ps", "name"):
        kinds = list(wanted)
        if len(kinds) == 1:
            _show(kinds[0], everything, plain, (), single=len(wanted[kinds[0]]) == 1)
        else:
            # No kind of list holds several kinds; all commands read a bare list.
            _print_value(everything, plain)
    _tell_missing(missing)


def _tell_missing(missing: list[str]) -> None:
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
    if form in ("go-template", "go-template-file"):
        raise StoreError(
            "Go templates are not supported: use -o custom-columns=HEADING,..., or -o json with jq"
        )
    if equals or form not in output.FORMATS:
        raise StoreError(
            f"output format '{form}' is not supported: use {', '.join(output.FORMATS)} or "
            "custom-columns=HEADING,..."
        )
    columns = presentation.wide if form == "wide" else presentation.columns
    if with_namespace:
        columns = (NAMESPACE_COLUMN, *columns)
    return "ps" if form in ("table", "wide") else form, columns


def _chooser(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Return what tells by their labels which resources are shown."""
    if not selector:
        return lambda labels: True
    try:
        parsed = parse(selector)
    except SelectorError as error:
        raise StoreError(f"selector '{selector}': {error}") from None
    return parsed.matches


def _each(
    store: Store,
    keys: Iterable[ResourceKey],
    missing: list[str],
    namesake: Callable[[ResourceKey], ResourceKey | None] = lambda key: None,
) -> Iterable[Resource]:
    """Yield what is stored under *keys* or, if nothing is, under those of its *namesake*."""
    for key in keys:
        try:
            yield store.read(key)
        except MissingError as error:
            try:
                other = namesake(key)
                if other is not None:
                    yield store.read(other)
            except (StoreError, ValueError) as worse:
                missing.append(str(worse))
            else:
                if other is None:
                    missing.append(f"{error}{_elsewhere(key)}")
        except StoreError as error:
            missing.append(str(error))


def _namesakes(config: str, namespace: str) -> Callable[[ResourceKey], ResourceKey | None]:
    """Return what finds the endpoint of the port or instance that is called like a key."""

    def namesake(key: ResourceKey) -> ResourceKey | None:
        from calico_openstack.calicoctl.lookup import endpoint_called  # noqa: PLC0415 - rare

        if key.kind != WorkloadEndpoint.KIND:
            return None
        return endpoint_called(open_client(config), key.name, namespace)

    return namesake


def _elsewhere(key: ResourceKey) -> str:
    """Return where to look for what does not exist."""
    if key.kind != WorkloadEndpoint.KIND:
        return ""
    return "; nor has a port or instance this name or id: calicoctl get wep -A -o wide lists them"


def _show(
    cls: type[Resource],
    rows: Iterable[Row],
    form: str,
    columns: tuple[Column, ...],
    *,
    single: bool,
) -> None:
    if form == "ps":
        output.print_lines(output.table(rows, columns))
        return
    if form == "name":
        output.print_lines(f"{cls.PLURAL}/{row['metadata']['name']}" for row in rows)
        return
    value: Any = list(rows)
    if single and not value:
        return
    _print_value(value[0] if single else output.as_list(cls.KIND, value), form)


def _print_value(value: Any, form: str) -> None:
    if form == "json":
        click.echo(output.as_json(value), nl=False)
    else:
        click.echo(output.as_yaml(value))

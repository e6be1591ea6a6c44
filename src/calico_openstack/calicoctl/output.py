"""Printing resources: tables, YAML, JSON, names.

Tables follow Go's tabwriter as upstream configures it (minimum cell 5, padding 3, the last cell
padded too, one blank line at the end): scripts of operators read them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from calico_openstack.calicoctl.kinds import Column, Row
from calico_openstack.datamodel import API_VERSION, Resource, encode

if TYPE_CHECKING:
    import yaml

FORMATS: Final = ("ps", "table", "wide", "yaml", "yml", "json", "name")
_MINIMUM_CELL: Final = 5
_PADDING: Final = 3
# A table streams: widths are fixed by this many rows, so that 100,000 rows start to appear at once.
_ROWS_FOR_WIDTHS: Final = 500
# Line ends of Unicode, which a reader folds, and what is a number for readers but not for PyYAML.
_NEEDS_QUOTES: Final = re.compile(
    r"[\x85\u2028\u2029]|^(?:[-+]?[0-9.]+[eE][-+]?[0-9]+|[-+]\.[0-9]+)$"
)


def as_row(resource: Resource) -> Row:
    """Return a resource as its JSON members, with its resource version."""
    row: Row = msgspec.json.decode(encode(resource))
    if resource.metadata.resource_version:
        row["metadata"]["resourceVersion"] = resource.metadata.resource_version
    return row


def exported(row: Row) -> Row:
    """Return a resource without what belongs to one datastore, ready for another."""
    local = ("namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {name: value for name, value in row["metadata"].items() if name not in local}
    return {**row, "metadata": metadata}


def table(rows: Iterable[Row], columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a table, the header first and a blank line last."""
    cells = ([column.cell(row) for column in columns] for row in rows)
    sample = [[column.heading for column in columns]]
    for row in cells:
        sample.append(row)
        if len(sample) > _ROWS_FOR_WIDTHS:
            break
    widths = [
        max(_MINIMUM_CELL, max(len(row[i]) for row in sample) + _PADDING)
        for i in range(len(columns))
    ]
    for lines in (sample, cells):
        for row in lines:
            yield "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    yield ""


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they come, many of them at a time.

    So many that the first are those by which a table's widths are fixed.
    """
    iterator = iter(lines)
    while some := list(islice(iterator, _ROWS_FOR_WIDTHS)):
        click.echo("\n".join(some))


def as_list(kind: str, rows: Iterable[Row], resource_version: str = "") -> dict[str, Any]:
    """Return the ``<Kind>List`` object that holds *rows*."""
    return {
        "apiVersion": API_VERSION,
        "items": list(rows),
        "kind": f"{kind}List",
        "metadata": {"resourceVersion": resource_version} if resource_version else {},
    }


def as_json(value: Any) -> str:
    """Return JSON, indented by two, without a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """Return YAML with sorted keys."""
    import yaml  # noqa: PLC0415 - tables must not wait for it

    text: str = yaml.dump(
        value, Dumper=_dumper(), sort_keys=True, default_flow_style=False, allow_unicode=True
    )
    return text.rstrip("\n")


@functools.cache
def _dumper() -> type[yaml.SafeDumper]:
    """Return a writer whose texts all readers take for the same texts."""
    import yaml  # noqa: PLC0415 - tables must not wait for it

    class Dumper(yaml.SafeDumper):
        pass

    def text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = '"' if _NEEDS_QUOTES.search(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, text_node)
    return Dumper

"""``get --watch``: changes as they happen, one line each."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.kinds import Column, Row
from calico_openstack.datamodel import Invalid, Resource, ResourceKey, decode, parse_key
from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch

_EVENT: Final = Column("EVENT", lambda row: str(row.get("event", "")))


class Printer:
    """Prints events in an output format, tables with one header for all that follows."""

    def __init__(self, form: str, columns: tuple[Column, ...]) -> None:
        self._form = form
        self._columns = (_EVENT, *columns)
        self._widths: list[int] = []

    def print(self, event: str, row: Row) -> None:
        """Print one event."""
        match self._form:
            case "ps":
                self._line([column.cell({**row, "event": event}) for column in self._columns])
            case "name":
                click.echo(f"{event} {row['kind'].lower()}/{row['metadata']['name']}")
            case "json":
                # A line for each event, so that readers need not wait for an end.
                click.echo(json.dumps({"type": event, "object": row}, ensure_ascii=False))
            case _:
                click.echo(f"---\n{output.as_yaml({'type': event, 'object': row})}")

    def _line(self, cells: list[str]) -> None:
        if not self._widths:
            headings = [column.heading for column in self._columns]
            self._widths = [
                max(len(heading), len(cell)) + 3
                for heading, cell in zip(headings, cells, strict=True)
            ]
            self._widths[0] = len("MODIFIED") + 3
            self._line(headings)
        padded = (cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True))
        click.echo("".join(padded))


def follow(
    client: EtcdClient,
    prefix: str,
    only: Collection[ResourceKey],
    chosen: Callable[[Mapping[str, str]], bool],
    printer: Printer,
) -> None:
    """Print what is below *prefix* and then every change, until interrupted.

    *only*, unless it is empty, are the keys asked for; *chosen* tells by the labels which resources
    are.
    """
    batches: queue.Queue[Batch] = queue.Queue()
    watch = SnapshotWatch(client, [prefix], batches.put)
    watch.start()
    events = Events(only, chosen)
    try:
        while True:
            batch = batches.get()
            for event, row in events.of(batch):
                printer.print(event, row)
            if not batch.connected:
                click.echo("etcd cannot be reached; still trying", err=True)
    except KeyboardInterrupt:
        return
    finally:
        watch.stop()


class Events:
    """Turns batches of a watch into events: remembers what was shown, for that is deleted."""

    def __init__(
        self, only: Collection[ResourceKey], chosen: Callable[[Mapping[str, str]], bool]
    ) -> None:
        self._only = only
        self._chosen = chosen
        self._shown: dict[str, Row] = {}

    def of(self, batch: Batch) -> Iterable[tuple[str, Row]]:
        """Yield events and resources. One that no longer matches counts as deleted."""
        for update in batch.updates:
            if self._only and parse_key(update.key) not in self._only:
                continue
            value = None if update.value is None else decode(update.key, update.value)
            if isinstance(value, Invalid):
                click.echo(f"invalid: {value}", err=True)
            if isinstance(value, Resource) and self._chosen(value.metadata.labels):
                version = str(update.mod_revision)
                metadata = msgspec.structs.replace(value.metadata, resource_version=version)
                row = output.as_row(msgspec.structs.replace(value, metadata=metadata))
                event = "MODIFIED" if update.key in self._shown else "ADDED"
                self._shown[update.key] = row
                yield event, row
            elif gone := self._shown.pop(update.key, None):
                yield "DELETED", gone

"""``show``: what the agents of a host have inside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import click
import msgspec

from calico_openstack.agent.introspection.local import PROGRAMS
from calico_openstack.agent.introspection.protocol import Answer, Question, Row
from calico_openstack.calicoctl import failures, output
from calico_openstack.calicoctl.asking import ask_here, ask_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, fail, open_client
from calico_openstack.calicoctl.directory import names_if_known
from calico_openstack.calicoctl.ends import EndError
from calico_openstack.calicoctl.kinds import Column
from calico_openstack.calicoctl.naming import Directory, readable, shows_names

_AGENTS: Final = dict(zip(("felix", "bgp", "dhcp"), PROGRAMS, strict=True))
# These are asked about addresses, not about interfaces.
_BY_ADDRESS: Final = frozenset({"way", "members", "flows"})


@click.command("show")
@click.argument("table", default="")
@click.argument("match", default="")
@click.option("--agent", default="felix", type=click.Choice(list(_AGENTS)), show_default=True)
@click.option("--node", default="", help="Another host, asked through etcd (default: this one).")
@click.option("--limit", default=1000, show_default=True, help="Show at most so many rows.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@AS
@CONFIG
def command(
    *, table: str, match: str, agent: str, node: str, limit: int, form: str, config: str
) -> None:
    """Show a TABLE of a running agent, or which tables there are.

    MATCH selects rows that contain it in any cell, or are about the port or security group of that
    name; some tables need it to know what is asked.
    """
    client = open_client(config)
    plain = form != "ps" or not table
    names = Directory() if plain and not match else names_if_known(client)
    question = Question(_AGENTS[agent], table, meant(match, table, names), limit)
    (found,) = ask_hosts(client, [(node, question)]) if node else [ask_here(question)]
    if found.error:
        root = os.geteuid() == 0
        fail(failures.of_agent(_AGENTS[agent], node, found.error, root=root))
    if form == "json":
        click.echo(output.as_json(list(found.rows)))
    elif form == "yaml":
        click.echo(output.as_yaml(list(found.rows)))
    else:
        _print(msgspec.structs.replace(found, rows=tuple(with_names(found.rows, names))))


def meant(match: str, table: str, names: Directory) -> str:
    """Return what an agent knows the port or group by whose name is *match*; else *match*.

    Raises `EndError` if several have that name.
    """
    ports = sorted(port for port, name in names.ports.items() if name == match)
    groups = sorted(group for group, name in names.groups.items() if name == match)
    if len(ports) > 1 or (not ports and len(groups) > 1):
        listed = "\n  ".join(ports or groups)
        raise EndError(f"'{match}' is the name of several: say the id of one\n  {listed}")
    if ports:
        interface, address = names.places[ports[0]]
        return address if table in _BY_ADDRESS else interface
    return groups[0] if groups else match


def with_names(rows: Iterable[Row], names: Directory) -> Iterator[Row]:
    """Yield rows with names in place of ids, and with the port beside each interface."""
    for row in rows:
        shown = {}
        for column, cell in row.items():
            shown[column] = readable(cell, names, interfaces=False)
            if column == "interface" and "port" not in row and shows_names():
                shown["port"] = names.interfaces.get(cell, "")
        yield shown


def _print(found: Answer) -> None:
    if not found.rows:
        click.echo("nothing")
        return
    for line in output.table(found.rows, columns_of(found.rows)):
        click.echo(line)
    if len(found.rows) < found.total:
        rest = found.total - len(found.rows)
        click.echo(
            f"{rest} of {found.total} rows are left out: name a MATCH or a --limit", err=True
        )


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns of rows that all have the same ones."""
    return tuple(Column(name.upper(), _cell(name)) for name in rows[0])


def _cell(name: str) -> Callable[[Row], str]:
    return lambda row: row.get(name, "")

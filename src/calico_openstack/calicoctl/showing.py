"""``show``: what the agents of a host have inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click

from calico_openstack.agent.introspection.local import PROGRAMS
from calico_openstack.agent.introspection.protocol import Answer, Question, Row
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.asking import ask_here, ask_hosts
from calico_openstack.calicoctl.command_line import CONFIG, fail, open_client
from calico_openstack.calicoctl.kinds import Column

_AGENTS: Final = dict(zip(("felix", "bgp", "dhcp"), PROGRAMS, strict=True))


@click.command("show")
@click.argument("table", default="")
@click.argument("match", default="")
@click.option("--agent", default="felix", type=click.Choice(list(_AGENTS)), show_default=True)
@click.option("--node", default="", help="Another host, asked through etcd (default: this one).")
@click.option("--limit", default=1000, show_default=True, help="Show at most so many rows.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@CONFIG
def command(
    *, table: str, match: str, agent: str, node: str, limit: int, form: str, config: str
) -> None:
    """Show a TABLE of a running agent, or which tables there are.

    MATCH selects rows that contain it in any cell; some tables need it to know what is asked.
    """
    question = Question(_AGENTS[agent], table, match, limit)
    (found,) = ask_hosts(open_client(config), [(node, question)]) if node else [ask_here(question)]
    if found.error:
        where = node or "this host"
        fail(f"{_AGENTS[agent]} of {where}: {found.error}")
    if form == "json":
        click.echo(output.as_json(list(found.rows)))
    elif form == "yaml":
        click.echo(output.as_yaml(list(found.rows)))
    else:
        _print(found)


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

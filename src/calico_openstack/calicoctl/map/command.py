"""``map``: the command."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from calico_openstack.agent.introspection.protocol import Question
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.asking import ask_hosts, living_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client, open_store
from calico_openstack.calicoctl.live import fitted, size
from calico_openstack.calicoctl.map import svg, terminal
from calico_openstack.calicoctl.map.chart import Chart, chart_of
from calico_openstack.calicoctl.subnets import stored_subnets
from calico_openstack.datamodel import Node, WorkloadEndpoint

_PEERS = Question("calico-bgp-agent", "peers")


@click.command("map")
@click.option(
    "-o", "--output", "form", default="ps", type=click.Choice(["ps", "svg", "html"]), help="Form."
)
@click.option("--limit", default=12, show_default=True, help="At most so many ports of each host.")
@AS
@CONFIG
def command(form: str, limit: int, config: str) -> None:
    """Draw hosts, BGP peers, networks and workloads, in the terminal or as a file.

    Write the picture to a file: calicoctl map -o html > map.html
    """
    chart = _read(config)
    if form == "svg":
        click.echo(svg.drawing(chart, limit))
    elif form == "html":
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        click.echo(svg.page(chart, limit, moment), nl=False)
    else:
        lines = terminal.lines(chart, limit)
        if sys.stdout.isatty():
            lines = iter(fitted(lines, size()[0], sys.maxsize))
        output.print_lines(lines)


def _read(config: str) -> Chart:
    client, store = open_client(config), open_store(config)
    nodes = [each for each in store.listed(Node) if isinstance(each, Node)]
    alive = living_hosts(client)
    answers = ask_hosts(client, [(host, _PEERS) for host in alive])
    endpoints = (e for e in store.listed(WorkloadEndpoint) if isinstance(e, WorkloadEndpoint))
    sessions = dict(zip(alive, answers, strict=True))
    return chart_of(nodes, endpoints, stored_subnets(client), alive, sessions)

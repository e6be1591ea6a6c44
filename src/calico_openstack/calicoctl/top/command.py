"""``top``: the command."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click
import msgspec

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.calicoctl import dropping, output
from calico_openstack.calicoctl.asking import ask_hosts, living_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.ends import EndError
from calico_openstack.calicoctl.top import screen
from calico_openstack.calicoctl.top.samples import (
    QUESTIONS,
    HostRates,
    PortRates,
    Sample,
    host_rates,
    port_rates,
    sample_of,
)
from calico_openstack.etcd import EtcdClient

_DROPS = Question("calico-felix", "drops", "", 200)
_DROPS_SHOWN = 8
_CLEAR = "\x1b[H\x1b[2J"


@click.command("top")
@click.option("--node", "nodes", multiple=True, help="Only this host (may be repeated).")
@click.option("--interval", default=2.0, show_default=True, type=click.FloatRange(0.5, 60))
@click.option("-n", "--count", default=0, help="Show so many times (piped: 1; else endless).")
@click.option("--limit", default=20, show_default=True, help="Show at most so many ports.")
@click.option(
    "--sort-by",
    default="bandwidth",
    show_default=True,
    type=click.Choice(["bandwidth", "packets", "drops"]),
)
@click.option("--drops/--no-drops", default=True, help="With dropped packets (see drops).")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json"]))
@AS
@CONFIG
def command(
    *,
    nodes: tuple[str, ...],
    interval: float,
    count: int,
    limit: int,
    sort_by: str,
    drops: bool,
    form: str,
    config: str,
) -> None:
    """Show endpoints, flows, bandwidth, drops, updates and lags of all hosts, live.

    Sent and received are from the instances' point of view.
    """
    client = open_client(config)
    hosts = nodes or tuple(living_hosts(client))
    if not hosts:
        raise EndError("no Felix is alive: see calicoctl doctor")
    live = sys.stdout.isatty() and form == "ps"
    left = count or (-1 if live else 1)
    watch = _Watch(client, hosts, drops=drops)
    watch.look()
    while left:
        time.sleep(interval)
        rates, ports = watch.look()
        ports = screen.busiest(ports, sort_by, limit)
        if form == "json":
            told = {"hosts": msgspec.to_builtins(rates), "ports": msgspec.to_builtins(ports)}
            click.echo(output.as_json({**told, "drops": watch.drops}))
        else:
            lines = [*screen.host_lines(rates), *screen.port_lines(ports, watch.names(ports))]
            lines += watch.drops[-_DROPS_SHOWN:]
            click.echo((_CLEAR if live else "") + "\n".join(lines))
        left -= 1


class _Watch:
    """Asks hosts again and again, and remembers what they last said."""

    def __init__(self, client: EtcdClient, hosts: Sequence[str], *, drops: bool) -> None:
        self._client = client
        self._hosts = hosts
        self._with_drops = drops
        self._last: dict[str, Sample] = {}
        self._names = dropping.KnownNames(client)
        self._seen: dict[tuple[str, str], int] = {}
        self.drops: list[str] = []

    def look(self) -> tuple[list[HostRates], list[PortRates]]:
        """Return the rates since the last look; raises `EtcdError`."""
        questions = {**QUESTIONS, **({"drops": _DROPS} if self._with_drops else {})}
        asked = [(host, question) for host in self._hosts for question in questions.values()]
        answers = iter(ask_hosts(self._client, asked))
        rates: list[HostRates] = []
        ports: list[PortRates] = []
        dropped: dict[str, Answer] = {}
        for host in self._hosts:
            found = {name: next(answers) for name in questions}
            if "drops" in found:
                dropped[host] = found.pop("drops")
            new, old = sample_of(host, found), self._last.get(host)
            rates.append(host_rates(old, new))
            if old is not None and not (old.error or new.error):
                ports += port_rates(old, new)
            self._last[host] = new
        fresh = list(dropping.fresh(dropped, self._seen, set()))
        self._names.learn(row for _, row in fresh)
        self.drops = [dropping.line(host, row, self._names.directory) for host, row in fresh]
        return rates, ports

    def names(self, ports: Sequence[PortRates]) -> dict[str, str]:
        """Return what ports are called, by their ids; each is looked up once."""
        self._names.learn({"port": each.port} for each in ports)
        return {each.port: self._names.directory.port(each.port) for each in ports}

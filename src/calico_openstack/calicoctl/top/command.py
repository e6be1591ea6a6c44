"""``top``: the command."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import click
import msgspec

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.calicoctl import dropping, output
from calico_openstack.calicoctl.asking import ask_hosts, living_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, fail, open_client
from calico_openstack.calicoctl.ends import EndError
from calico_openstack.calicoctl.live import Screen
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
from calico_openstack.etcd import EtcdClient, EtcdError

_DROPS = Question("calico-felix", "drops", "", 200)
_DROPS_SHOWN = 8
_DROPS_KEPT = 100
_KEYS = {"b": "bandwidth", "p": "packets", "d": "drops"}


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

    Sent and received are from the instances' point of view. In a terminal the screen is drawn
    again and again: q quits, b, p and d sort by bandwidth, packets and drops. Piped, or with -n,
    plain lines are printed.
    """
    client = open_client(config)
    hosts = nodes or tuple(living_hosts(client))
    if not hosts:
        raise EndError("no Felix is alive: see calicoctl doctor")
    watch = _Watch(client, hosts, drops=drops)
    if sys.stdout.isatty() and form == "ps" and not count:
        _live(watch, interval, sort_by, limit)
        return
    watch.look()
    for _ in range(count or 1):
        time.sleep(interval)
        watch.look()
        ports = screen.busiest(watch.ports, sort_by, limit)
        if form == "json":
            told = {
                "hosts": msgspec.to_builtins(watch.rates),
                "ports": msgspec.to_builtins(ports),
            }
            click.echo(output.as_json({**told, "drops": watch.drops}))
        else:
            lines = [*screen.host_lines(watch.rates)]
            lines += screen.port_lines(ports, watch.names(ports))
            click.echo("\n".join([*lines, *watch.drops[-_DROPS_SHOWN:]]))
    if watch.rates and all(each.error for each in watch.rates):
        fail("no host answers, so nothing is known of them: see calicoctl doctor")


def _live(watch: _Watch, interval: float, sort_by: str, limit: int) -> None:
    """Draw again and again until the operator has seen enough; etcd may be away meanwhile."""
    trouble = ""
    drops: deque[str] = deque(maxlen=_DROPS_KEPT)

    def content(_columns: int, rows: int) -> list[str]:
        ports = screen.busiest(watch.ports, sort_by, limit)
        moment = datetime.now().strftime("%H:%M:%S")
        about = f"calicoctl top  {moment}  by {sort_by}  every {interval:g} s"
        head = [trouble or f"{about}  (q quits; b, p, d sort)", ""]
        if not watch.rates:
            return [head[0], "asking the hosts"]
        tables = [*screen.host_lines(watch.rates)], [*screen.port_lines(ports, watch.names(ports))]
        return [*head, *screen.arranged(*tables, [*drops], rows - len(head))]

    with Screen(content) as terminal:
        terminal.draw()
        while True:
            try:
                watch.look()
                drops.extend(watch.drops)
                trouble = ""
            except EtcdError as error:
                trouble = f"etcd cannot be asked, trying again: {error}"
            terminal.draw()
            until = time.monotonic() + interval
            while (left := until - time.monotonic()) > 0:
                key = terminal.wait(left)
                if key == "q":
                    return
                if key in _KEYS:
                    sort_by = _KEYS[key]
                    terminal.draw()


class _Watch:
    """Asks hosts again and again, and remembers what they last said."""

    def __init__(self, client: EtcdClient, hosts: Sequence[str], *, drops: bool) -> None:
        self._client = client
        self._hosts = hosts
        self._with_drops = drops
        self._last: dict[str, Sample] = {}
        self._names = dropping.KnownNames(client)
        self._seen: dict[tuple[str, str], int] = {}
        self.rates: Sequence[HostRates] = ()
        self.ports: Sequence[PortRates] = ()
        self.drops: list[str] = []

    def look(self) -> None:
        """Take in the rates since the last look, and new drops; raises `EtcdError`."""
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
        self.rates, self.ports = rates, ports

    def names(self, ports: Sequence[PortRates]) -> dict[str, str]:
        """Return what ports are called, by their ids; each is looked up once."""
        self._names.learn({"port": each.port} for each in ports)
        return {each.port: self._names.directory.port(each.port) for each in ports}

"""``drops``: packets that are dropped now, and why."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click

from calico_openstack.agent.introspection.protocol import Answer, Question, Row
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.asking import ask_hosts, living_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, fail, note, open_client
from calico_openstack.calicoctl.directory import named
from calico_openstack.calicoctl.ends import EndError, names_of
from calico_openstack.calicoctl.lookup import endpoints_with
from calico_openstack.calicoctl.naming import Directory, directory_of, readable
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint, prefix_of
from calico_openstack.etcd import EtcdClient

_FELIX: Final = "calico-felix"
_INTERVAL: Final = 1.0
_ROWS: Final = 2000


@click.command("drops")
@click.option("--port", default="", help="Only of this port, instance, guest or address.")
@click.option("--node", "nodes", multiple=True, help="Watch this host (may be repeated).")
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--seconds", default=10.0, show_default=True, help="Without -f, watch so long.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json"]))
@AS
@CONFIG
def command(
    *, port: str, nodes: tuple[str, ...], follow: bool, seconds: float, form: str, config: str
) -> None:
    """Watch for dropped packets, and tell for each why it was dropped.

    Watched are the host of --port, those of --node, or all. While somebody watches, Felix has the
    kernel follow up to 200 new connections a second and a sample of all that instances send.
    """
    client = open_client(config)
    endpoints: Mapping[ResourceKey, WorkloadEndpoint] = {}
    if port:
        endpoints = _meant(client, port)
        nodes = tuple({each.spec.node for each in endpoints.values()})
    hosts = nodes or tuple(living_hosts(client))
    interfaces = {each.spec.interface_name for each in endpoints.values()}
    if not hosts:
        raise EndError("no Felix is alive: see calicoctl doctor")
    note(f"Watching {len(hosts)} host(s){', until ctrl-C' if follow else ''}")
    # Whoever follows ends it so; that is no failure.
    with contextlib.suppress(KeyboardInterrupt):
        _watch(client, hosts, interfaces, form, None if follow else seconds)


def _watch(
    client: EtcdClient,
    hosts: Sequence[str],
    interfaces: set[str],
    form: str,
    seconds: float | None,
) -> None:
    """Print new drops as they happen; *seconds* None: until interrupted."""
    until = None if seconds is None else time.monotonic() + seconds
    seen: dict[tuple[str, str], int] = {}
    names = KnownNames(client)
    silent: set[str] = set()
    while True:
        questions = [(host, Question(_FELIX, "drops", "", _ROWS)) for host in hosts]
        answers = ask_hosts(client, questions)
        for host, answer in zip(hosts, answers, strict=True):
            if answer.error and host not in silent:
                silent.add(host)
                click.echo(f"{host}: {answer.error}", err=True)
        if len(silent) == len(set(hosts)) and until is not None:
            fail("no host answers, so nothing is known of drops: see calicoctl doctor")
        new = list(fresh(dict(zip(hosts, answers, strict=True)), seen, interfaces))
        names.learn(row for _, row in new)
        for host, row in new:
            if form == "json":
                click.echo(output.as_json({"host": host, **row}))
            else:
                click.echo(line(host, row, names.directory))
        if until is not None and time.monotonic() >= until:
            return
        time.sleep(_INTERVAL)


def fresh(
    answers: Mapping[str, Answer], seen: dict[tuple[str, str], int], interfaces: set[str]
) -> Iterator[tuple[str, Row]]:
    """Yield rows that were not *seen*, by host, with *interfaces* only those; note them as seen.

    A drop that was seen and happened again is new.
    """
    for host, answer in answers.items():
        for row in answer.rows:
            key = host, f"{row['reason']} {row['packet']} {row['interface']} {row['rule']}"
            number = int(row["number"])
            if seen.get(key, -1) == number or (interfaces and row["interface"] not in interfaces):
                continue
            seen[key] = number
            yield host, row


def line(host: str, row: Row, names: Directory) -> str:
    """Return a drop in one line, with names as far as they are known."""
    moment = datetime.fromtimestamp(float(row["time"]), UTC).strftime("%H:%M:%S")
    where = f"port {names.port(row['port'])}" if row["port"] else row["interface"] or "the host"
    times = f" ({row['count']} times)" if row["count"] != "1" else ""
    return (
        f"{moment} {host}: {row['reason']}: {row['packet']}{times}, {row['direction']} of {where}: "
        f"{why(row, names)}"
    )


def why(row: Row, names: Directory) -> str:
    """Return what decided about a drop, in words."""
    rule = row["rule"]
    if row["reason"] == "default deny":
        policies = filter(None, row["policies"].split(","))
        asked = ", ".join(map(names.group, policies)) or "its policies"
        return f"no rule of {asked} allows it ({rule})"
    return readable(rule, names)


class KnownNames:
    """Names of the ports that were seen, of their groups and networks; each is looked up once."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._seen: set[str] = set()
        self.directory = directory_of(())

    def learn(self, rows: Iterable[Row]) -> None:
        """Look up the ports that rows are about; raises `EtcdError`."""
        unknown = {row["port"] for row in rows} - self._seen - {""}
        if not unknown:
            return
        self._seen |= unknown
        traces = [b'"%b"' % port.encode() for port in unknown]
        for page in self._client.iterate_prefix(prefix_of(WorkloadEndpoint.KIND)):
            mine = (kv for kv in page.kvs if any(trace in kv.value for trace in traces))
            for endpoint in named(mine):
                self.directory.add(endpoint)


def _meant(client: EtcdClient, text: str) -> Mapping[ResourceKey, WorkloadEndpoint]:
    """Return the endpoints that *text* names or has as an address; raises `EndError`."""
    found = {
        key: value
        for key, value in endpoints_with(client, text).items()
        if text in names_of(key, value)
        or value.spec.endpoint.startswith(text)
        or value.spec.workload.startswith(text)
        or any(text == network.partition("/")[0] for network in value.spec.ip_networks)
    }
    if not found:
        raise EndError(f"'{text}' is no port, instance, guest or address: see calicoctl get wep -A")
    return found

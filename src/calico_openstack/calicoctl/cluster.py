"""``cluster``: all hosts together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

import calico_openstack
from calico_openstack.calicoctl.asking import living_hosts
from calico_openstack.calicoctl.command_line import CONFIG, open_client
from calico_openstack.calicoctl.diags.archive import Archive
from calico_openstack.calicoctl.diags.cluster import (
    collect_datastore,
    collect_findings,
    collect_hosts,
)
from calico_openstack.calicoctl.diags.options import MAX_LOGS, SINCE
from calico_openstack.etcd import EtcdError


@click.group()
def cluster() -> None:
    """Look at all hosts."""


@cluster.command()
@click.option("--focus-nodes", default="", help="Ask these hosts only, with commas between them.")
@click.option("--max-parallelism", default=10, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--output-dir", default=".", type=click.Path(path_type=Path), help="Where to write it (here)."
)
@SINCE
@MAX_LOGS
@click.option("--skip-temp-dir-cleanup", is_flag=True, hidden=True, help="For upstream's scripts.")
@CONFIG
def diags(
    *,
    focus_nodes: str,
    max_parallelism: int,
    output_dir: Path,
    since: float,
    max_logs: int,
    skip_temp_dir_cleanup: bool,
    config: str,
) -> None:
    """Collect into an archive what etcd holds, what doctor finds, and the tables of all agents.

    Logs are not in etcd: the command that collects those of a host is told at the end.

    Passwords, tokens and private keys are taken out; look through it before it leaves your hands.
    """
    client = open_client(config)
    chosen = [name.strip() for name in focus_nodes.split(",") if name.strip()]
    hosts = chosen or living_hosts(client)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = output_dir / f"calico-diagnostics-{stamp}.tar.gz"
    with Archive(path, click.echo) as archive:
        archive.add("version", f"calicoctl {calico_openstack.__version__}\n")
        try:
            collect_datastore(archive, client)
            collect_findings(archive, client, chosen)
            collect_hosts(archive, client, hosts, max_parallelism)
        except EtcdError as error:
            archive.add("incomplete", f"etcd failed in the middle: {error}\n")
            click.echo(f"etcd failed in the middle, the archive is incomplete: {error}", err=True)
    click.echo(f"Diags saved to {path.resolve()}")
    if hosts:
        limits = f"--since {since:.0f}s --max-logs {max_logs}"
        click.echo(f"What kernels and logs say: on {hosts[0]} and others, as root:")
        click.echo(f"  calicoctl node diags {limits}")

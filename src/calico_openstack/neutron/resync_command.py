"""``calico-resync``: compares etcd with Neutron's database now, and repairs it.

It needs the configuration of a Neutron server and runs beside any number of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from neutron.common import config as neutron_config
from neutron.conf.plugins.ml2 import config as ml2_config
from neutron.db.migration.models import head  # noqa: F401  (the classes refer to each other)
from oslo_config import cfg
from rich.console import Console

from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron import options
from calico_openstack.neutron.resync import Progress, Resync
from calico_openstack.neutron.resync_report import Report, Scope
from calico_openstack.neutron.sync import make_synchroniser

DEFAULT_FILES = ("/etc/neutron/neutron.conf", "/etc/neutron/plugins/ml2/ml2_conf.ini")

FAILED = 1
DIFFERENT = 3


@click.command()
@click.option(
    "--config-file",
    "config_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A configuration file of Neutron, repeatable; by default neutron.conf and ml2_conf.ini "
    "below /etc/neutron.",
)
@click.option("--network", "networks", multiple=True, help="Id of a network: its subnets, ports.")
@click.option("--subnet", "subnets", multiple=True, help="Id of a subnet, with its ports.")
@click.option("--port", "ports", multiple=True, help="Id of a port.")
@click.option("--security-group", "groups", multiple=True, help="Id of a security group.")
@click.option(
    "--include-sgs-for-ports", is_flag=True, help="Also the security groups of these ports."
)
@click.option("--audit", is_flag=True, help="Only tell what differs; write nothing.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File for the result.")
def main(
    *,
    config_files: tuple[str, ...],
    networks: tuple[str, ...],
    subnets: tuple[str, ...],
    ports: tuple[str, ...],
    groups: tuple[str, ...],
    include_sgs_for_ports: bool,
    audit: bool,
    output: str | None,
) -> None:
    """Compare etcd with Neutron's database and repair what differs, all or a part.

    The result is JSON. Exit status: 0 for success, 1 for failure, 2 for wrong usage, 3 where an
    audit found a difference.
    """
    scope = Scope(
        frozenset(networks),
        frozenset(subnets),
        frozenset(ports),
        frozenset(groups),
        include_sgs_for_ports,
    )
    settings = _settings(config_files)
    client = EtcdClient(settings.etcd)
    try:
        synchroniser = make_synchroniser(client, settings)
        report = Resync(synchroniser, audit=audit, progress=_progress()).run(scope)
    finally:
        client.close()
    text = json.dumps(report.as_dict(), indent=2)
    if output:
        Path(output).write_text(text + "\n", encoding="utf-8")
    else:
        click.echo(text)
    sys.exit(exit_status(report))


def exit_status(report: Report) -> int:
    """Return the exit status for a report."""
    if report.error is not None or report.contested:
        return FAILED
    return DIFFERENT if report.audit and report.writes else 0


def _settings(config_files: tuple[str, ...]) -> options.Settings:
    files = config_files or tuple(name for name in DEFAULT_FILES if Path(name).exists())
    if not files:
        raise click.UsageError("no configuration of Neutron: give --config-file")
    neutron_config.register_common_config_options()
    ml2_config.register_ml2_plugin_opts()
    options.register(cfg.CONF)
    neutron_config.init([arg for name in files for arg in ("--config-file", name)])
    # Standard output is for the result.
    cfg.CONF.set_override("use_stderr", True)
    neutron_config.setup_logging()
    try:
        return options.read(cfg.CONF)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _progress() -> Progress:
    """Return what shows progress: one line on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return lambda phase, done, total: None

    def show(phase: str, done: int, total: int) -> None:
        console.print(f"{phase}: {done} of {total} repaired", end="\n" if done == total else "\r")

    return show

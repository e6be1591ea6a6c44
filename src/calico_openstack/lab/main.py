"""The command `calico-lab`: a cloud on one machine."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from calico_openstack.lab import cli_cloud, cli_hosts, cli_processes, cli_workloads
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.commands import CommandError
from calico_openstack.lab.control import ControlError
from calico_openstack.lab.namespaces import NamespaceError
from calico_openstack.lab.rest import RestError
from calico_openstack.lab.settings import (
    DEFAULT_CACHE,
    DEFAULT_NAME,
    DEFAULT_STATE_ROOT,
    Lab,
    SettingsError,
)
from calico_openstack.lab.waiting import NotReadyError

EXPECTED = (
    CloudError,
    CommandError,
    ControlError,
    NamespaceError,
    RestError,
    NotReadyError,
    SettingsError,
    ValueError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--lab", default=DEFAULT_NAME, envvar="CALICO_LAB", help="Name of the lab.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=DEFAULT_STATE_ROOT,
    envvar="CALICO_LAB_STATE",
    help="Folder below which labs keep their files.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=DEFAULT_CACHE,
    envvar="CALICO_LAB_CACHE",
    help="Folder of what is worth keeping from one lab to the next.",
)
@click.pass_context
def group(context: click.Context, lab: str, state: Path, cache: Path) -> None:
    """A small OpenStack cloud on this machine, in network namespaces.

    Compute hosts with Felix, BIRD and DHCP agent, a controller with etcd and Neutron, a
    top-of-rack router that speaks BGP, and a client outside of the cloud. Nothing in it is
    connected to the real network.
    """
    context.obj = Lab.named(lab, state, cache)


cli_cloud.register(group)
cli_hosts.register(group)
cli_workloads.register(group)
cli_processes.register(group)


def main() -> None:
    """Run the command; expected failures end with one line that says why, and status 1."""
    if os.geteuid() != 0 and not {"-h", "--help"} & set(sys.argv):
        click.echo("calico-lab makes network namespaces and must be run as root.", err=True)
        sys.exit(1)
    try:
        group(standalone_mode=True)
    except EXPECTED as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {_plain(str(error))}")
        sys.exit(1)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()

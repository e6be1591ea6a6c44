"""The command line: ``calicoctl``."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Final

import click

import calico_openstack
from calico_openstack.calicoctl import failures
from calico_openstack.calicoctl.command_line import CONFIG, Commands, as_option, fail, open_store
from calico_openstack.calicoctl.store import StoreError
from calico_openstack.datamodel import ClusterInformation, ResourceKey
from calico_openstack.etcd import EtcdError

_GARBAGE: Final = 100_000
_COMMANDS: Final = {
    "get": ("reading", "get"),
    "create": ("writing", "create"),
    "apply": ("writing", "apply"),
    "replace": ("writing", "replace"),
    "delete": ("writing", "delete"),
    "validate": ("writing", "validate"),
    "patch": ("editing", "patch"),
    "label": ("editing", "label"),
    "datastore": ("datastore", "datastore"),
    "node": ("node", "node"),
    "cluster": ("cluster", "cluster"),
    "ipam": ("ipam", "ipam"),
    "explain": ("explaining", "command"),
    "show": ("showing", "command"),
    "plan": ("plan.command", "command"),
    "map": ("map.command", "command"),
    "top": ("top.command", "command"),
    "trace": ("tracing", "command"),
    "drops": ("dropping", "command"),
    "doctor": ("doctor.command", "command"),
}


def main() -> None:
    """Run the command; every foreseeable failure is one message and exit status 1."""
    status = 0
    # Little becomes garbage in cycles while a command runs, and looking for it takes time.
    gc.set_threshold(_GARBAGE, 50, 50)
    # What libraries would log is told by the commands.
    logging.getLogger("calico_openstack").addHandler(logging.NullHandler())
    try:
        _run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else bool(end.code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing more can be written to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout.flush()
    sys.stderr.flush()
    # The kernel closes connections at once; the gRPC library would take 0.2 seconds over it.
    os._exit(status)


def _run() -> None:
    try:
        cli.main(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "calicoctl"
        fail(failures.of_usage(error.format_message(), command, _COMMANDS))
    except click.ClickException as error:
        fail(error.format_message())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("CALICOCTL_TRACEBACK"):
            raise
        fail(failures.unforeseen(error))


@click.group(cls=Commands, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@as_option(envvar="CALICOCTL_AS")
def cli() -> None:
    """Read and write Calico's resources in etcd."""


@cli.command()
@click.option("--client", is_flag=True, help="Do not ask the datastore.")
@CONFIG
def version(client: bool, config: str) -> None:
    """Show this command's version and the cluster's."""
    click.echo(f"{'Client Version:':<19}v{calico_openstack.__version__}")
    if client:
        return
    try:
        found = open_store(config).read(ResourceKey(ClusterInformation.KIND, "default"))
    except (EtcdError, StoreError) as error:
        click.echo(f"the cluster's version is not known: {error}", err=True)
        return
    if isinstance(found, ClusterInformation):
        click.echo(f"{'Cluster Version:':<19}{found.spec.calico_version or 'unknown'}")
        click.echo(f"{'Cluster Type:':<19}{found.spec.cluster_type or 'unknown'}")

"""``node``: this host."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from calico_openstack.calicoctl import node_status, output, system_check
from calico_openstack.calicoctl.store import StoreError


@click.group()
def node() -> None:
    """Look at this host."""


@node.command()
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "wide", "json"]))
@click.option("--fail-if-down", is_flag=True, help="Exit with 2 if a session is not established.")
@click.option(
    "--status-file",
    default="/run/calico/bgp-status.json",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Written by calico-bgp-agent.",
)
def status(form: str, fail_if_down: bool, status_file: Path) -> None:
    """Show whether Felix runs and the state of the BGP sessions."""
    if form == "json":
        document = node_status.read_document(status_file)
        click.echo(output.as_json(document), nl=False)
    else:
        if not node_status.runs_felix(node_status.process_command_lines()):
            raise StoreError("Calico process is not running.")
        click.echo("Calico process is running.")
        document = node_status.read_document(status_file)
        for line in node_status.report(document, datetime.now(UTC), wide=form == "wide"):
            click.echo(line)
    if fail_if_down and (down := node_status.sessions_down(document)):
        click.echo(f"not established: {' '.join(down)}", err=True)
        sys.exit(2)


@node.command()
@click.option(
    "-f",
    "--kernel-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The kernel's configuration.",
)
def checksystem(kernel_config: Path | None) -> None:
    """Check that this host has what the agents need."""
    found = list(system_check.findings(system_check.System(configuration=kernel_config)))
    width = max(len(finding.subject) for finding in found) + 3
    for finding in found:
        line = f"{finding.subject.ljust(width)}{finding.result:<7}{finding.remedy}"
        click.echo(line.rstrip())
    if any(finding.result == system_check.FAIL for finding in found):
        raise StoreError("this host lacks what is marked FAIL")

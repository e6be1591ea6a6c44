"""``node``: this host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

import calico_openstack
from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.agent.system import System
from calico_openstack.calicoctl import node_status, output, system_check
from calico_openstack.calicoctl.asking import ask_here
from calico_openstack.calicoctl.diags.options import MAX_LOGS, SINCE
from calico_openstack.calicoctl.store import StoreError

# Settings and state of the agents and of what calls them; secrets in them are taken out.
_SETTINGS: Final = (
    Path("/etc/calico"),
    Path("/etc/neutron/neutron.conf"),
    Path("/etc/neutron/plugins/ml2"),
    Path("/etc/nova/nova.conf"),
    Path("/var/lib/calico"),
)
_RUN_DIRECTORY: Final = "CALICO_RUN_DIRECTORY"
_IN_RUN_DIRECTORY: Final = f"{{}} in ${_RUN_DIRECTORY} or /run/calico"


def _run_directory() -> Path:
    """Return where this host's agents keep their files, `RunDirectory` in their settings."""
    return Path(os.environ.get(_RUN_DIRECTORY) or "/run/calico")


@click.group()
def node() -> None:
    """Look at this host."""


@node.command()
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "wide", "json"]))
@click.option("--fail-if-down", is_flag=True, help="Exit with 2 if a session is not established.")
@click.option(
    "--status-file",
    default=lambda: _run_directory() / "bgp-status.json",
    show_default=_IN_RUN_DIRECTORY.format("bgp-status.json"),
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
    found = list(system_check.findings(System(configuration=kernel_config)))
    width = max(len(finding.subject) for finding in found) + 3
    for finding in found:
        line = f"{finding.subject.ljust(width)}{finding.result:<7}{finding.remedy}"
        click.echo(line.rstrip())
    if any(finding.result == system_check.FAIL for finding in found):
        raise StoreError("this host lacks what is marked FAIL")


@node.command()
@click.option(
    "--log-dir",
    default="/var/log/calico",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the agents log to.",
)
@click.option(
    "--bird-socket",
    default=lambda: str(_run_directory() / "bird.ctl"),
    show_default=_IN_RUN_DIRECTORY.format("bird.ctl"),
    help="BIRD's control socket.",
)
@click.option(
    "--add", "more", multiple=True, type=click.Path(path_type=Path), help="Another file, folder."
)
@click.option(
    "--output-dir", default=".", type=click.Path(path_type=Path), help="Where to write it (here)."
)
@SINCE
@MAX_LOGS
def diags(
    *,
    log_dir: Path,
    bird_socket: str,
    more: tuple[Path, ...],
    output_dir: Path,
    since: float,
    max_logs: int,
) -> None:
    """Collect what this host knows into an archive, for whoever looks into a fault.

    Passwords, tokens and private keys are taken out; look through it before it leaves your hands.
    """
    from calico_openstack.calicoctl.diags import host, tables  # noqa: PLC0415 - for this alone
    from calico_openstack.calicoctl.diags.archive import Archive  # noqa: PLC0415

    if os.geteuid() != 0:
        raise StoreError("only root may see all of it: sudo calicoctl node diags")
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    path = output_dir / f"diags-{stamp}.tar.gz"
    with Archive(path, click.echo) as archive:
        archive.add("diagnostics/version", f"calicoctl {calico_openstack.__version__}\n")
        host.collect_output(archive, host.inquiries(bird_socket, since))
        tables.collect_tables(archive, ["this-host"], _answers_here, "agents")
        host.collect_files(archive, (*_SETTINGS, _run_directory()), "files", any_name=False)
        recent = host.recent_files(log_dir, time.time() - since, max_logs)
        host.collect_files(archive, (*recent, *more), "logs", any_name=True)
    click.echo(f"Diags saved to {path.resolve()}")


def _answers_here(questions: Sequence[tuple[str, Question]]) -> list[Answer]:
    return [ask_here(question) for _, question in questions]

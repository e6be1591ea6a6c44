"""Commands for the lab's processes: logs, restart, stop, start, kill."""

import signal
import sys

import click

from calico_openstack.agent.supervision import is_running, send_signal
from calico_openstack.lab import log_files
from calico_openstack.lab.cloud import CloudError, supervisor, topology_of
from calico_openstack.lab.names import Daemon, daemon
from calico_openstack.lab.progress import Progress, output
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.waiting import wait_until

STOP_TIMEOUT = 30.0


@click.command()
@click.argument("process")
@click.option("-n", "--lines", default=40, help="How many of the last lines to show.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.pass_obj
def logs(lab: Lab, process: str, lines: int, follow: bool) -> None:
    """Show the log of a process, such as felix@compute-1, bird@tor, etcd or neutron-api."""
    topology_of(lab, complete=False)
    path = lab.log_file(process)
    if not path.exists():
        known = ", ".join(sorted(p.name.removesuffix(".log") for p in lab.logs.glob("*.log")))
        raise CloudError(f"there is no log of {process!r}; there are: {known}")
    for line in log_files.tail(path, lines):
        click.echo(line)
    if follow:
        for text in log_files.follow(path):
            click.echo(text, nl=False)
            sys.stdout.flush()


@click.command()
@click.argument("process")
@click.pass_obj
def restart(lab: Lab, process: str) -> None:
    """End a process in an orderly way and start it again."""
    owned = _daemon(lab, process)
    with Progress(output()).step(f"restarting {process}"):
        if owned is not None:
            _signal_daemon(owned, signal.SIGTERM)
        else:
            supervisor(lab).restart(process, timeout=STOP_TIMEOUT)


@click.command()
@click.argument("process")
@click.pass_obj
def stop(lab: Lab, process: str) -> None:
    """End a process and leave it stopped."""
    _refuse_daemon(lab, process)
    with Progress(output()).step(f"stopping {process}"):
        supervisor(lab).stop(process, timeout=STOP_TIMEOUT)


@click.command()
@click.argument("process")
@click.pass_obj
def start(lab: Lab, process: str) -> None:
    """Start a stopped process."""
    _refuse_daemon(lab, process)
    with Progress(output()).step(f"starting {process}"):
        supervisor(lab).start(process)


@click.command()
@click.argument("process")
@click.pass_obj
def kill(lab: Lab, process: str) -> None:
    """Kill a process without warning (SIGKILL); it is started again as after any failure."""
    owned = _daemon(lab, process)
    if owned is not None:
        _signal_daemon(owned, signal.SIGKILL)
    else:
        supervisor(lab).kill(process)
    click.echo(f"{process} was killed; calico-lab status shows how it comes back")


def _daemon(lab: Lab, name: str) -> Daemon | None:
    topology_of(lab, complete=False)
    return daemon(lab, name)


def _refuse_daemon(lab: Lab, name: str) -> None:
    owned = _daemon(lab, name)
    if owned is not None:
        raise CloudError(
            f"{name} is kept running by {owned.agent}: stop that first and kill {name} then, "
            f"or use: calico-lab restart {name}"
        )


def _signal_daemon(owned: Daemon, number: signal.Signals) -> None:
    if not owned.processes:
        raise CloudError(f"{owned.name} is not running; {owned.agent} starts it when it is needed")
    for identity in owned.processes:
        send_signal(identity, number)
    wait_until(
        lambda: not any(is_running(identity) for identity in owned.processes),
        f"the end of {owned.name}",
        timeout=STOP_TIMEOUT,
    )


def register(group: click.Group) -> None:
    """Add these commands to the group."""
    for command in (logs, restart, stop, start, kill):
        group.add_command(command)

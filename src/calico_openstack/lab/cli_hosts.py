"""Commands for compute hosts: host add, host drain, host undrain, host remove."""

import click

from calico_openstack.lab import host_changes
from calico_openstack.lab.cloud import exclusive
from calico_openstack.lab.progress import Progress, output
from calico_openstack.lab.settings import Lab


@click.group("host")
def host_group() -> None:
    """Add, drain and remove compute hosts while the lab runs."""


@host_group.command()
@click.pass_obj
def add(lab: Lab) -> None:
    """Add one more compute host."""
    progress = Progress(output())
    with exclusive(lab):
        host = host_changes.add(lab, progress)
    progress.note(f"{host.name} is there after {progress.elapsed:.1f} s")


@host_group.command()
@click.argument("host")
@click.pass_obj
def drain(lab: Lab, host: str) -> None:
    """Make a host's routes its neighbours' last choice."""
    host_changes.drain(lab, host)
    Progress(output()).note(f"{host} is being drained")


@host_group.command()
@click.argument("host")
@click.pass_obj
def undrain(lab: Lab, host: str) -> None:
    """Take a drained host back."""
    host_changes.drain(lab, host, undo=True)
    Progress(output()).note(f"{host} is as good as the others again")


@host_group.command()
@click.pass_obj
def remove(lab: Lab) -> None:
    """Remove the last compute host, which must have no workloads any more."""
    progress = Progress(output())
    with exclusive(lab):
        host = host_changes.remove(lab, progress)
    progress.note(f"{host.name} is gone after {progress.elapsed:.1f} s")


def register(group: click.Group) -> None:
    """Add these commands to the group."""
    group.add_command(host_group)

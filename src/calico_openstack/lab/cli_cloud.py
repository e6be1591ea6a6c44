"""Commands for the lab as a whole: up, down, status, openstack, openrc, calicoctl, shell."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import click
from rich.text import Text

from calico_openstack.lab import etcd_server, identity, neutron_server, status_view, teardown
from calico_openstack.lab.bgp_layout import BgpLayout
from calico_openstack.lab.bring_up import up as bring_up
from calico_openstack.lab.cloud import CloudError, describe, exclusive, topology_of
from calico_openstack.lab.compute import run_folder
from calico_openstack.lab.keystone_access import ADMIN
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.names import own_command
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.nova import catalogue
from calico_openstack.lab.nova.first_steps import first_steps
from calico_openstack.lab.progress import Progress, output
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology
from calico_openstack.lab.workload import WorkloadStore

DEFAULT_HOSTS = 3


@click.command()
@click.option("--hosts", type=int, help=f"Number of compute hosts, {DEFAULT_HOSTS} by default.")
@click.option(
    "--bgp",
    type=click.Choice([layout.value for layout in BgpLayout]),
    help="Sessions: between all hosts (mesh, the default), by two hosts that reflect routes, or "
    "with the top-of-rack router only.",
)
@click.option("--nova", is_flag=True, help="With Keystone, Placement, Glance and Nova.")
@click.pass_obj
def up(lab: Lab, hosts: int | None, bgp: str | None, nova: bool) -> None:
    """Start the lab, or what is missing of it."""
    progress = Progress(output())
    description = describe(lab)
    if hosts is None:
        hosts = description.hosts if description and description.complete else DEFAULT_HOSTS
    layout = BgpLayout(bgp) if bgp else BgpLayout.MESH
    if bgp is None and description and description.complete:
        layout = description.bgp
    with exclusive(lab):
        built = bring_up(lab, hosts, progress, layout=layout, nova=nova)
    if built:
        progress.note(f"the lab {lab.name} is up after {progress.elapsed:.1f} s")
    else:
        progress.note(f"the lab {lab.name} is up already, with {hosts} compute hosts")
    if nova:
        _show_first_steps(lab)


@click.command()
@click.option("--purge", is_flag=True, help="Remove the cache too, for a start from nothing.")
@click.pass_obj
def down(lab: Lab, purge: bool) -> None:
    """Remove the lab with everything in it, in whatever state it is."""
    progress = Progress(output())
    with exclusive(lab):
        if teardown.leftovers(lab):
            with progress.step(f"removing the lab {lab.name}"):
                killed = teardown.down(lab)
            progress.note(f"{killed} processes ended; no namespace and no file is left")
        else:
            progress.note(f"there is no lab {lab.name}")
        if purge:
            shutil.rmtree(lab.cache, ignore_errors=True)


@click.command()
@click.pass_obj
def status(lab: Lab) -> None:
    """Show hosts, processes, agents, workloads and servers."""
    topology_of(lab, complete=False)
    status_view.show(output(), lab)


@click.command(
    "openstack",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.option("--as-project", metavar="NAME", help="Act as a member of this project.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def openstack(lab: Lab, as_project: str | None, arguments: tuple[str, ...]) -> None:
    """Run the real `openstack` client against the lab's services, as their administrator."""
    environment = _client_environment(lab, as_project)
    _become(lab, "controller", [_own_program("openstack"), *arguments], environment)


@click.command("openrc")
@click.option("--as-project", metavar="NAME", help="Act as a member of this project.")
@click.pass_obj
def openrc(lab: Lab, as_project: str | None) -> None:
    """Print the credentials as shell commands, for: eval "$(calico-lab openrc)".

    The lab's services are reached from its hosts only; open a shell there with: calico-lab shell
    controller.
    """
    for name, value in _client_environment(lab, as_project).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command(
    "calicoctl",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def calicoctl(lab: Lab, arguments: tuple[str, ...]) -> None:
    """Run `calicoctl` against the lab's etcd."""
    environment = _calicoctl_environment(lab, topology_of(lab, complete=False), "controller")
    _become(lab, "controller", [_own_program("calicoctl"), *arguments], environment)


@click.command()
@click.argument("host")
@click.pass_obj
def shell(lab: Lab, host: str) -> None:
    """Open a shell on a host (compute-1, tor, client, controller) or in a workload."""
    topology = topology_of(lab, complete=False)
    hosts = [known.name for known in topology.hosts]
    program = os.environ.get("SHELL", "/bin/sh")
    environment = {
        "PS1": f"{lab.name}:{host}# ",
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }
    if host in hosts:
        environment |= _calicoctl_environment(lab, topology, host)
        _become(lab, host, [program], environment)
    workload = WorkloadStore(lab).find(host)
    if workload is None:
        raise CloudError(f"there is no host and no workload {host!r}; hosts: {', '.join(hosts)}")
    if workload.machine is not None:
        raise CloudError(f"{host} is a virtual machine; use: calico-lab exec {host} -- COMMAND")
    os.environ.update(environment)
    command = inside_host(lab.workload_namespace(host), host, [program])
    os.execvp(command[0], command)


def _become(lab: Lab, host: str, command: list[str], environment: dict[str, str]) -> None:
    """Replace this process by a command on a host. It does not return."""
    cleaned = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    argv = inside_host(lab.namespace(host), host, command)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, {**cleaned, **environment})


def _calicoctl_environment(lab: Lab, topology: Topology, host: str) -> dict[str, str]:
    """Return what has `calicoctl` use the lab's etcd, and what is on a host of the lab."""
    return {
        "ETCD_ENDPOINTS": etcd_server.endpoint(topology),
        "DATASTORE_TYPE": "etcdv3",
        "CALICO_RUN_DIRECTORY": str(run_folder(lab, host)),
    }


def _client_environment(lab: Lab, project: str | None) -> dict[str, str]:
    """The environment of the real client, as administrator or as a member of a project."""
    topology = topology_of(lab, complete=False)
    description = describe(lab)
    if description is not None and description.nova:
        return _keystone_environment(lab, topology, project)
    url = neutron_server.settings(lab, topology).api_url
    return identity.client_environment(url, project)


def _show_first_steps(lab: Lab) -> None:
    console, own = output(), own_command(lab)
    console.print("\nThe cloud is running. What to try first:\n")
    steps = first_steps(own, topology_of(lab).compute[-1].name)
    for number, (what, commands) in enumerate(steps, start=1):
        console.print(Text(f" {number}. {what}"))
        for command in commands:
            console.print(Text(f"    {command}", style="bold"), soft_wrap=True)
    console.print(f"\n{own} status shows everything; {own} down removes it.", soft_wrap=True)


def _keystone_environment(lab: Lab, topology: Topology, project: str | None) -> dict[str, str]:
    if project is not None:
        Keystone(lab).ensure_member(project)
    name = project or ADMIN
    return catalogue.keystone(topology).environment(name, name)


def _own_program(name: str) -> str:
    return str(Path(sys.prefix) / "bin" / name)


def register(group: click.Group) -> None:
    """Add these commands to the group."""
    for command in (up, down, status, openstack, openrc, calicoctl, shell):
        group.add_command(command)

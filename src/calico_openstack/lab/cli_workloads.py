"""Commands for workloads: boot, delete, exec, ping, matrix, demo."""

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import click
from rich.text import Text

from calico_openstack.lab import booting, demo, machine, matrix, matrix_view
from calico_openstack.lab.booting import Order
from calico_openstack.lab.cloud import CloudError, topology_of
from calico_openstack.lab.names import own_command
from calico_openstack.lab.namespaces import inside, inside_host
from calico_openstack.lab.progress import Progress, output
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.workload import WorkloadStore

PINGS = 3


@click.command()
@click.argument("name")
@click.option("--network", required=True, help="Name or id of the network.")
@click.option("--security-group", "groups", multiple=True, help="Name or id; may be repeated.")
@click.option("--host", help="Compute host; the one with the fewest workloads by default.")
@click.option("--qemu", is_flag=True, help="A virtual machine instead of a namespace.")
@click.pass_obj
def boot(
    lab: Lab, name: str, network: str, groups: tuple[str, ...], *, host: str | None, qemu: bool
) -> None:
    """Boot a workload, as Nova would, and wait until it has its addresses."""
    topology_of(lab)
    progress = Progress(output())
    workload = booting.boot(lab, Order(name, network, groups, host, qemu), progress)
    progress.note(f"{name} runs on {workload.host} with {', '.join(workload.addresses)}")


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def delete(lab: Lab, names: tuple[str, ...]) -> None:
    """Delete workloads and their ports."""
    topology_of(lab)
    progress = Progress(output())
    for name in names:
        with progress.step(f"deleting {name}"):
            booting.delete(lab, name)


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(lab: Lab, name: str, command: tuple[str, ...]) -> None:
    """Run a command in a workload, or on a host: calico-lab exec web1 -- ip address."""
    topology = topology_of(lab)
    workload = WorkloadStore(lab).find(name)
    if workload is not None and workload.machine is not None:
        status, text = machine.execute(WorkloadStore(lab).folder(name), command)
        click.echo(text, nl=False)
        sys.exit(status)
    if workload is not None:
        argv = inside_host(lab.workload_namespace(name), name, command)
    elif name in {host.name for host in topology.hosts}:
        argv = inside_host(lab.namespace(name), name, command)
    else:
        WorkloadStore(lab).get(name)
        return
    os.execvp(argv[0], argv)


@click.command()
@click.argument("source")
@click.argument("target")
@click.pass_obj
def ping(lab: Lab, source: str, target: str) -> None:
    """Ping one workload (or host, such as the client) from another, over IPv4 and IPv6.

    TARGET may be an address as well, such as that of a server of Nova or a floating IP.
    """
    addresses = _addresses(lab, target)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda address: _ping(lab, source, address), addresses))
    console = output()
    for address, (passed, text) in zip(addresses, results, strict=True):
        style = "green" if passed else "red"
        console.print(Text(f"{source} → {target} ({address}): {text}", style=style))
    sys.exit(0 if all(passed for passed, _ in results) else 1)


@click.command("matrix")
@click.pass_obj
def show_matrix(lab: Lab) -> None:
    """Show who reaches whom: as Neutron's rules want it, and as packets see it."""
    topology_of(lab)
    found = matrix.build(lab)
    matrix_view.show(output(), found)
    sys.exit(1 if found.differences else 0)


@click.command("demo")
@click.pass_obj
def run_demo(lab: Lab) -> None:
    """Create the demonstration, show its matrix and say what to try next."""
    topology_of(lab)
    console = output()
    progress = Progress(console)
    demo.create(lab, progress)
    with progress.step("packets between all workloads and the outside client"):
        found = matrix.build(lab)
    console.print()
    matrix_view.show(console, found)
    own = own_command(lab)
    console.print("\nThe cloud is running. What to try next:\n")
    for number, (what, command) in enumerate(demo.SUGGESTIONS, start=1):
        console.print(Text(f" {number}. {what}"))
        text = command.format(lab=own)
        console.print(Text(f"    {text}\n", style="bold"), soft_wrap=True)
    console.print(f"{own} status shows everything; {own} down removes it.", soft_wrap=True)
    sys.exit(1 if found.differences else 0)


def _addresses(lab: Lab, name: str) -> list[str]:
    for host in topology_of(lab).hosts:
        if host.name == name:
            return [host.ipv4, host.ipv6]
    with contextlib.suppress(ValueError):
        return [str(ip_address(name))]
    return sorted(WorkloadStore(lab).get(name).addresses, key=lambda a: ip_address(a).version)


def _ping(lab: Lab, source: str, address: str) -> tuple[bool, str]:
    """Whether anything came back, and the client's summary."""
    workload = WorkloadStore(lab).find(source)
    command = ["ping", "-c", str(PINGS), "-W", "2", address]
    if workload is not None and workload.machine is not None:
        status, text = machine.execute(WorkloadStore(lab).folder(source), command)
    else:
        known = {host.name for host in topology_of(lab).hosts}
        if workload is None and source not in known:
            raise CloudError(f"there is no workload and no host {source!r}")
        own = lab.namespace(source) if workload is None else lab.workload_namespace(source)
        done = subprocess.run(
            inside(own, [*command, "-i", "0.2"]), capture_output=True, text=True, check=False
        )
        status, text = done.returncode, done.stdout + done.stderr
    lines = [line for line in text.splitlines() if "received" in line or "round-trip" in line]
    lines += [line for line in text.splitlines() if line.startswith("rtt")]
    return status == 0, ", ".join(lines) or text.strip()


def register(group: click.Group) -> None:
    """Add these commands to the group."""
    for command in (boot, delete, execute, ping, show_matrix, run_demo):
        group.add_command(command)

"""Showing the state of a lab: hosts, processes, Neutron's agents, workloads, Nova's servers."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from calico_openstack.agent.supervision import is_running
from calico_openstack.lab import compute
from calico_openstack.lab.cloud import api, describe, supervisor, topology_of
from calico_openstack.lab.control import ControlError
from calico_openstack.lab.lifecycle import State
from calico_openstack.lab.names import daemon
from calico_openstack.lab.nova import servers
from calico_openstack.lab.nova.servers import Server
from calico_openstack.lab.processes import Snapshot, resident_by_group
from calico_openstack.lab.rest import Resource, RestError
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology
from calico_openstack.lab.workload import Workload, WorkloadStore


def show(console: Console, lab: Lab) -> None:
    """Print what there is. A part that does not answer says so and costs only itself."""
    topology = topology_of(lab, complete=False)
    console.print(_hosts(lab, topology))
    try:
        console.print(_processes(lab, topology, supervisor(lab).processes()))
    except ControlError as error:
        console.print(Text(f"{error}; calico-lab up starts it again", style="red"))
    workloads = WorkloadStore(lab).all()
    try:
        agents, ports = api(lab).find_all("agents"), api(lab).find_all("ports")
    except RestError as error:
        console.print(Text(str(error), style="red"))
        agents, ports = [], []
    console.print(_agents(agents))
    description = describe(lab)
    nova = description is not None and description.nova
    if workloads or not nova:
        console.print(_workloads(lab, workloads, {port["id"]: port for port in ports}))
    if nova:
        try:
            console.print(_servers(servers.find_all(lab)))
        except RestError as error:
            console.print(Text(str(error), style="red"))


def duration(seconds: float) -> str:
    """A time span in the largest two units. Pure."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _hosts(lab: Lab, topology: Topology) -> Table:
    table = _table("Hosts", "host", "is", "IPv4", "IPv6", "namespace")
    for host in topology.hosts:
        row = (host.name, host.role, host.ipv4, host.ipv6, lab.namespace(host.name))
        table.add_row(*row)
    return table


def _processes(lab: Lab, topology: Topology, snapshots: Sequence[Snapshot]) -> Table:
    table = _table("\nProcesses", "process", "state", "pid", "for", "starts", "memory")
    memory = resident_by_group()
    for process in snapshots:
        running = process.state == State.RUNNING
        table.add_row(
            process.name,
            Text(process.state, style="green" if running else "red"),
            str(process.pid or "-"),
            duration(process.uptime) if running else _ended(process),
            str(process.starts),
            _mebibytes(memory.get(process.pid, 0)) if running else "-",
        )
    for host in topology.compute:
        for kind in compute.DAEMONS:
            owned = daemon(lab, f"{kind}@{host.name}")
            for identity in owned.processes if owned else ():
                size = _mebibytes(memory.get(identity.pid, 0))
                state = Text(f"kept by {owned.agent if owned else ''}", style="dim")
                table.add_row(f"{kind}@{host.name}", state, str(identity.pid), "", "", size)
    return table


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _ended(process: Snapshot) -> str:
    return "-" if process.last_exit is None else f"ended with {process.last_exit}"


def _agents(agents: Sequence[Resource]) -> Table:
    table = _table("\nNeutron's agents", "host", "agent", "alive")
    for agent in sorted(agents, key=lambda a: str(a["host"])):
        alive = Text("yes", style="green") if agent["alive"] else Text("no", style="red")
        table.add_row(agent["host"], agent["agent_type"], alive)
    return table


def _workloads(lab: Lab, workloads: Sequence[Workload], ports: dict[str, Resource]) -> Table:
    title = "\nWorkloads" if workloads else "\nNo workloads; calico-lab demo makes some"
    table = _table(title, "workload", "host", "link", "addresses", "port", "runs as")
    for workload in workloads:
        status = ports.get(workload.port_id, {}).get("status", "?")
        table.add_row(
            workload.name,
            workload.host,
            workload.interface,
            ", ".join(workload.addresses),
            Text(status, style="green" if status == "ACTIVE" else "red"),
            _kind(workload),
        )
    return table


def _servers(found: Sequence[Server]) -> Table:
    title = "\nServers" if found else "\nNo servers; calico-lab up --nova says how to make some"
    table = _table(title, "server", "state", "host", "addresses")
    for server in found:
        state = Text(server.state, style="green" if server.well else "red")
        table.add_row(server.name, state, server.host, ", ".join(server.addresses))
    return table


def _kind(workload: Workload) -> str:
    if workload.machine is None:
        return "namespace"
    return "virtual machine" + ("" if is_running(workload.machine) else " (ended)")

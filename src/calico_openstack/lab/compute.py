"""The agents of a compute host: their configuration files and processes."""

import sys
from pathlib import Path

from calico_openstack.lab import etcd_server
from calico_openstack.lab.ini import section
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host, Topology

AGENTS = ("felix", "bgp", "dhcp")
# What the agents start themselves, to outlive them: process to the agent that owns it.
DAEMONS = {"bird": "bgp", "dnsmasq": "dhcp"}
# Where the agents record the daemons' processes, below their run folder.
PROCESS_FILES = {"bird": "bird.process", "dnsmasq": "dhcp/*/*.process"}

_PROGRAM = {"felix": "calico-felix", "bgp": "calico-bgp-agent", "dhcp": "calico-dhcp-agent"}
_FILE = {"felix": "felix.cfg", "bgp": "bgp-agent.cfg", "dhcp": "dhcp-agent.cfg"}


def process_name(agent: str, host: Host) -> str:
    """The lab's name for an agent's process."""
    return f"{agent}@{host.name}"


def run_folder(lab: Lab, host: str) -> Path:
    """Where the agents of a host keep sockets and process ids."""
    return lab.host_folder(host) / "run"


def configuration(lab: Lab, topology: Topology, host: Host) -> dict[Path, str]:
    """The agents' configuration files: path to text."""
    folder = lab.host_folder(host.name)
    etcd = {"EtcdEndpoints": etcd_server.endpoint(topology)}
    agent = {
        **etcd,
        "Hostname": host.name,
        "StateDirectory": str(folder / "lib"),
        "RunDirectory": str(run_folder(lab, host.name)),
    }
    bgp = {
        **agent,
        "IP": f"{host.ipv4}/24",
        "IP6": f"{host.ipv6}/64",
        "BirdLogFile": str(lab.log_file(f"bird@{host.name}")),
    }
    felix = {
        **etcd,
        "DatastoreType": "etcdv3",
        "FelixHostname": host.name,
        "InterfacePrefix": "tap",
        "LogSeverityScreen": "INFO",
        "LogSeveritySys": "none",
        "LogFilePath": "none",
        "EndpointReportingEnabled": "true",
        "EndpointStatusPathPrefix": str(run_folder(lab, host.name)),
        "MTUFilePath": str(run_folder(lab, host.name) / "mtu"),
    }
    return {
        folder / _FILE["felix"]: section("global", felix),
        folder / _FILE["bgp"]: section("global", bgp),
        folder / _FILE["dhcp"]: section("global", agent),
    }


def write_configuration(lab: Lab, topology: Topology, host: Host) -> None:
    """Write the configuration files of a host's agents and make their folders."""
    folder = lab.host_folder(host.name)
    for name in ("lib", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, text in configuration(lab, topology, host).items():
        path.write_text(text)


def processes(lab: Lab, host: Host) -> tuple[ProcessSpec, ...]:
    """The agents of one host."""
    return tuple(_process(lab, host, agent) for agent in AGENTS)


def _process(lab: Lab, host: Host, agent: str) -> ProcessSpec:
    name = process_name(agent, host)
    command = _command(lab, host, agent)
    return ProcessSpec(
        name=name,
        host=host.name,
        argv=tuple(inside_host(lab.namespace(host.name), host.name, command)),
        log=str(lab.log_file(name)),
    )


def bgp_command(lab: Lab, host: Host, *options: str) -> list[str]:
    """The BGP agent's command line with further options."""
    return [*_command(lab, host, "bgp"), *options]


def _command(lab: Lab, host: Host, agent: str) -> list[str]:
    program = Path(sys.prefix) / "bin" / _PROGRAM[agent]
    return [str(program), "-c", str(lab.host_folder(host.name) / _FILE[agent])]

"""The lab's top-of-rack router: a plain BIRD that knows nothing of Calico."""

from ipaddress import IPv4Address, ip_network
from pathlib import Path

from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import (
    CLIENT4,
    CLIENT6,
    CLUSTER_AS,
    FABRIC4,
    FABRIC6,
    TOR_AS,
    Topology,
)

PROCESS = "bird@tor"


def control_socket(lab: Lab) -> Path:
    """Where birdc reaches the router's BIRD."""
    return lab.host_folder("tor") / "bird.ctl"


def write_configuration(lab: Lab, topology: Topology) -> None:
    """Write the router's BIRD configuration: every host of the fabric may call."""
    folder = lab.host_folder("tor")
    folder.mkdir(parents=True, exist_ok=True)
    router = TorRouter(
        router_id=IPv4Address(topology.tor.ipv4),
        as_number=TOR_AS,
        neighbors=tuple(Neighbors(ip_network(net), CLUSTER_AS) for net in (FABRIC4, FABRIC6)),
        advertised=(ip_network(CLIENT4), ip_network(CLIENT6)),
        log_file=str(lab.log_file(PROCESS)),
    )
    (folder / "bird.conf").write_text(render_tor(router))


def process(lab: Lab) -> ProcessSpec:
    """BIRD in the router's namespace. -R: a restart is graceful, its neighbours keep routes."""
    folder = lab.host_folder("tor")
    command = [
        *("bird", "-f", "-R", "-c", str(folder / "bird.conf")),
        *("-s", str(control_socket(lab)), "-P", str(folder / "bird.pid")),
    ]
    return ProcessSpec(
        name=PROCESS,
        host="tor",
        argv=tuple(inside_host(lab.namespace("tor"), "tor", command)),
        log=str(lab.log_file(PROCESS)),
    )

"""The lab's top-of-rack router: a plain BIRD that knows nothing of Calico."""

from contextlib import suppress
from pathlib import Path

from calico_openstack.bgp.birdc import BirdControl, BirdUnavailableError
from calico_openstack.bgp.service import installed_version
from calico_openstack.bgp.tor import render_tor
from calico_openstack.bgp.version import OLDEST_SUPPORTED
from calico_openstack.lab.bgp_layout import BgpLayout, plan_bgp
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

PROCESS = "bird@tor"


def control_socket(lab: Lab) -> Path:
    """Where birdc reaches the router's BIRD."""
    return lab.host_folder("tor") / "bird.ctl"


def write_configuration(lab: Lab, topology: Topology, layout: BgpLayout) -> None:
    """Write the router's BIRD configuration, with every compute host as a neighbour."""
    folder = lab.host_folder("tor")
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_bgp(topology, layout, log_file=str(lab.log_file(PROCESS)))
    version = installed_version("bird") or OLDEST_SUPPORTED
    (folder / "bird.conf").write_text(render_tor(plan.router, version))


def reconfigure(lab: Lab, topology: Topology, layout: BgpLayout) -> None:
    """Have the router know the compute hosts that there are now."""
    write_configuration(lab, topology, layout)
    # One that is being started reads the file anyway.
    with suppress(BirdUnavailableError), BirdControl(control_socket(lab)) as bird:
        bird.configure()


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

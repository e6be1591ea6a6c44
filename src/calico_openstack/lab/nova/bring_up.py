"""Starting Nova's part of a lab, in the order that works.

Keystone comes before Neutron, which asks it who calls; the rest comes after the hosts are alive
in Neutron.
"""

import importlib.util
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from calico_openstack.lab import guest_image, machine
from calico_openstack.lab.awaiting import await_process
from calico_openstack.lab.cloud import CloudError, supervisor
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.nova import (
    catalogue,
    compute_host,
    controller,
    databases,
    message_bus,
    registration,
    stock,
)
from calico_openstack.lab.nova.catalogue import GLANCE, NOVA, PLACEMENT
from calico_openstack.lab.nova.configuration import NovaCloud
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import RestApi, RestError
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host, Topology
from calico_openstack.lab.waiting import wait_until

# Seconds, generous.
API_TIMEOUT = 120.0
HYPERVISOR_TIMEOUT = 180.0

_MODULES = ("keystone", "placement", "glance", "nova", "libvirt")
_PROGRAMS = ("libvirtd", "qemu-img", "dropbear", f"{message_bus.PROGRAMS}/rabbitmq-server")


def require_installed() -> None:
    """Raise CloudError with what is not installed."""
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    missing += [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise CloudError(f"a lab with Nova needs {', '.join(missing)}; run: make nova")


def describe(
    lab: Lab, topology: Topology, neutron: NeutronSettings, accelerator: str = "tcg"
) -> NovaCloud:
    """What the configuration of a lab's Nova is made from.

    `accelerator` is what `machine.choose_accelerator` says.
    """
    return NovaCloud(
        prefix=Path(sys.prefix),
        folder=lab.host_folder("controller"),
        instances=lab.state / "instances",
        database_socket=neutron.database_socket,
        keystone=catalogue.keystone(topology),
        message_bus=message_bus.url(topology),
        virtual_type="kvm" if accelerator == "kvm" else "qemu",
    )


def start_identity(
    lab: Lab, topology: Topology, neutron: NeutronSettings, progress: Progress
) -> None:
    """Start Keystone, with everybody registered, and make the databases. MariaDB runs already."""
    cloud = describe(lab, topology, neutron)
    controller.write_configuration(lab, topology, cloud)
    registration.write_keys(cloud)
    cached = databases.cached_dump(lab)
    if cached.exists():
        with progress.step("Keystone's and Nova's databases, from the dump of an earlier start"):
            databases.restore(lab, neutron, cached)
        _start_keystone(lab, cloud, progress)
        return
    with progress.step("the databases of Keystone, Placement, Glance and Nova, by migrations"):
        databases.migrate(lab, neutron, cloud)
        registration.bootstrap(lab, topology, cloud)
    _start_keystone(lab, cloud, progress)
    with progress.step("services and their users, in Keystone"):
        registration.register_services(Keystone(lab), topology)
        databases.dump(lab, neutron, cached)


def start_message_bus(lab: Lab, topology: Topology) -> None:
    """Start RabbitMQ, without waiting for it."""
    supervisor(lab).add(message_bus.process(lab, topology))


def start(lab: Lab, topology: Topology, neutron: NeutronSettings, progress: Progress) -> None:
    """Start everything else, and wait until a server can be created."""
    image = guest_image.prepare(lab.cache)
    accelerator = machine.choose_accelerator(lab.cache, image, progress)
    cloud = describe(lab, topology, neutron, accelerator)
    control = supervisor(lab)
    with progress.step("RabbitMQ"):
        await_process(lab, message_bus.PROCESS, lambda: message_bus.is_ready(lab))
    for spec in controller.processes(lab, cloud):
        control.add(spec)
    with progress.step("Placement, Glance and Nova's API"):
        for name, service in (("placement", PLACEMENT), ("glance-api", GLANCE), ("nova-api", NOVA)):
            api = RestApi(service.name.title(), catalogue.socket(lab, service))
            await_process(lab, name, api.answers, timeout=API_TIMEOUT)
    start_hosts(lab, cloud, topology.compute)
    token = Keystone(lab).token()
    with progress.step(f"image {stock.IMAGE} and flavor {stock.FLAVOR}"):
        stock.create(lab, token)
    with progress.step(f"hypervisors of {len(topology.compute)} hosts, known to Nova"):
        await_hypervisors(lab, token, topology)


def start_hosts(lab: Lab, cloud: NovaCloud, hosts: Iterable[Host]) -> None:
    """Start what runs on compute hosts, without waiting for it."""
    for host in hosts:
        for spec in compute_host.processes(lab, cloud, host):
            supervisor(lab).add(spec)


def await_hypervisors(lab: Lab, token: str, topology: Topology) -> None:
    """Wait until Nova has mapped the hypervisor of each host. Raises NotReadyError."""
    wanted = {host.name for host in topology.compute}
    nova = RestApi("Nova", catalogue.socket(lab, NOVA), {"X-Auth-Token": token})

    def missing() -> set[str]:
        try:
            known = nova.request("GET", "/v2.1/os-hypervisors")["hypervisors"]
        except RestError:
            return wanted
        up = {entry["hypervisor_hostname"] for entry in known if entry["state"] == "up"}
        return wanted - up

    wait_until(
        lambda: not missing(),
        "the hypervisors",
        timeout=HYPERVISOR_TIMEOUT,
        interval=0.5,
        reason=lambda: (
            f"none on {', '.join(sorted(missing()))}; see the logs nova-compute@ and libvirt@HOST"
        ),
    )


def _start_keystone(lab: Lab, cloud: NovaCloud, progress: Progress) -> None:
    supervisor(lab).add(controller.keystone_process(lab, cloud))
    with progress.step("Keystone"):
        await_process(lab, "keystone", Keystone(lab).answers, timeout=API_TIMEOUT)

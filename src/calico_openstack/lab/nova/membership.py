"""Compute hosts that join the lab's Nova while it runs, and leave it."""

from calico_openstack.lab import guest_image, machine
from calico_openstack.lab.cloud import supervisor
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.nova import catalogue, compute_host
from calico_openstack.lab.nova.bring_up import await_hypervisors, describe, start_hosts
from calico_openstack.lab.nova.catalogue import NOVA
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import RestApi
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host, Topology

# With it a service is named by its UUID (docs.openstack.org/nova, microversion 2.53).
_HEADERS = {"OpenStack-API-Version": "compute 2.53"}


def join(
    lab: Lab, topology: Topology, neutron: NeutronSettings, host: Host, progress: Progress
) -> None:
    """Start Nova's part of a host and wait until servers can be created on it."""
    image = guest_image.prepare(lab.cache)
    accelerator = machine.choose_accelerator(lab.cache, image, progress)
    cloud = describe(lab, topology, neutron, accelerator)
    start_hosts(lab, cloud, [host])
    with progress.step(f"hypervisor of {host.name}, known to Nova"):
        await_hypervisors(lab, Keystone(lab).token(), topology)


def leave(lab: Lab, host: Host) -> None:
    """Take a host out of Nova and stop Nova's part of it.

    Raises RestError when there are servers on it.
    """
    headers = {**_HEADERS, "X-Auth-Token": Keystone(lab).token()}
    nova = RestApi("Nova", catalogue.socket(lab, NOVA), headers)
    found = nova.request("GET", f"/v2.1/os-services?host={host.name}")["services"]
    # The one that has servers comes first: it says so, and nothing is taken away.
    for service in sorted(found, key=lambda one: str(one["binary"]) != "nova-compute"):
        nova.request("DELETE", f"/v2.1/os-services/{service['id']}")
    control = supervisor(lab)
    for name in compute_host.process_names(host):
        control.stop(name)
        control.remove(name)

"""The processes of Nova on a compute host: libvirt, `nova-compute`, and the metadata service."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from calico_openstack.lab import wsgi
from calico_openstack.lab.nova import configuration, controller, hypervisor
from calico_openstack.lab.nova.configuration import ComputeNode, NovaCloud
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host

# Where Felix sends what workloads ask their metadata address (Felix's MetadataAddr and -Port).
METADATA_ADDRESS = wsgi.tcp_address("127.0.0.1", 8775)
# Told to stop, nova-compute waits long for what does not end.
COMPUTE_STOP_TIMEOUT = 3.0

# $0 is the host's folder of disks, $1 where Nova takes it to be on every host, then the command.
_WITH_DISKS = 'mount --bind "$0" "$1" && shift && exec "$@"'


def node(lab: Lab, host: Host) -> ComputeNode:
    """A compute host as Nova's configuration describes it."""
    return ComputeNode(
        name=host.name,
        address=host.ipv4,
        folder=lab.host_folder(host.name) / "nova",
        libvirt_socket=hypervisor.socket(lab, host),
    )


def process_names(host: Host) -> tuple[str, ...]:
    """The names of Nova's processes on a host, in an order in which they can be stopped."""
    return tuple(f"{name}@{host.name}" for name in ("nova-metadata", "nova-compute", "libvirt"))


def processes(lab: Lab, cloud: NovaCloud, host: Host) -> Iterator[ProcessSpec]:
    """Everything of Nova on one host. Writes the configuration."""
    here = node(lab, host)
    metadata = here.folder / "metadata"
    disks = here.folder / "instances", cloud.instances
    _write(here, cloud, metadata)
    for folder in disks:
        folder.mkdir(exist_ok=True)
    yield hypervisor.process(lab, host, kvm=cloud.virtual_type == "kvm", disks=disks)
    compute = [
        str(cloud.prefix / "bin/nova-compute"),
        *("--config-file", str(here.folder / "nova.conf")),
    ]
    yield msgspec.structs.replace(
        controller.process(
            lab,
            host.name,
            f"nova-compute@{host.name}",
            ["sh", "-c", _WITH_DISKS, *map(str, disks), *compute],
            {"PATH": f"{cloud.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        ),
        stop_timeout=COMPUTE_STOP_TIMEOUT,
    )
    yield controller.process(
        lab,
        host.name,
        f"nova-metadata@{host.name}",
        [str(cloud.prefix / "bin/uwsgi"), "--ini", str(metadata / "uwsgi.ini")],
        controller.nova_environment(cloud, metadata),
    )


def _write(here: ComputeNode, cloud: NovaCloud, metadata: Path) -> None:
    (here.folder / "lock").mkdir(parents=True, exist_ok=True)
    metadata.mkdir(exist_ok=True)
    (here.folder / "nova.conf").write_text(configuration.compute_conf(cloud, here))
    (metadata / "nova.conf").write_text(configuration.metadata_conf(cloud, here))
    text = controller.web_server_conf(
        cloud, "nova-metadata", "nova.wsgi.metadata:application", [METADATA_ADDRESS]
    )
    (metadata / "uwsgi.ini").write_text(text)

"""The processes on the controller: Keystone, Placement, Glance, and Nova's central parts."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from calico_openstack.lab import wsgi
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.nova import catalogue, configuration
from calico_openstack.lab.nova.catalogue import GLANCE, KEYSTONE, NOVA, PLACEMENT, WebService
from calico_openstack.lab.nova.configuration import NovaCloud
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

HOST = "controller"
# uWSGI asks its workers to finish what they serve; Nova's services finish what they do.
STOP_TIMEOUT = 15.0
_THREADS = 4


def write_configuration(lab: Lab, topology: Topology, cloud: NovaCloud) -> None:
    """Write all files and make all folders of the controller."""
    files = {
        ("keystone", "keystone.conf"): configuration.keystone_conf(cloud),
        ("placement", "placement.conf"): configuration.placement_conf(cloud),
        ("glance", "glance-api.conf"): configuration.glance_conf(cloud),
        ("nova", "nova.conf"): configuration.nova_conf(cloud),
    }
    for (owner, name), text in files.items():
        folder = cloud.configuration_folder(owner)
        (folder / "lock").mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for store in ("images", "staging", "tasks"):
        (cloud.configuration_folder("glance") / store).mkdir(exist_ok=True)
    for service in (KEYSTONE, PLACEMENT, GLANCE, NOVA):
        address = wsgi.tcp_address(topology.controller.ipv4, service.port)
        text = web_server_conf(
            cloud,
            service.name,
            _MODULES[service],
            [address, str(catalogue.socket(lab, service))],
        )
        (cloud.configuration_folder(service.name) / "uwsgi.ini").write_text(text)


def keystone_process(lab: Lab, cloud: NovaCloud) -> ProcessSpec:
    """Keystone, which all others need."""
    return _web_process(lab, cloud, KEYSTONE)


def processes(lab: Lab, cloud: NovaCloud) -> Iterator[ProcessSpec]:
    """Everything but Keystone and the message bus."""
    for service in (PLACEMENT, GLANCE, NOVA):
        yield _web_process(lab, cloud, service)
    file = cloud.configuration_folder("nova") / "nova.conf"
    for name in ("nova-conductor", "nova-scheduler"):
        command = [str(cloud.prefix / "bin" / name), "--config-file", str(file)]
        yield process(lab, HOST, name, command)


def process(
    lab: Lab,
    host: str,
    name: str,
    command: list[str],
    environment: Mapping[str, str] | None = None,
) -> ProcessSpec:
    """A service of OpenStack on a host of the lab."""
    return ProcessSpec(
        name=name,
        host=host,
        argv=tuple(inside_host(lab.namespace(host), host, command)),
        env=dict(environment or {}),
        log=str(lab.log_file(name)),
        stop_timeout=STOP_TIMEOUT,
    )


def web_server_conf(cloud: NovaCloud, name: str, module: str, listen: list[str]) -> str:
    """The text of `uwsgi.ini` for one service."""
    return wsgi.uwsgi_conf(
        name=name,
        module=module,
        listen=listen,
        prefix=cloud.prefix,
        processes=1,
        threads=_THREADS,
    )


def nova_environment(cloud: NovaCloud, folder: Path) -> dict[str, str]:
    """How Nova's WSGI modules find their configuration: Paste's first, as they want it."""
    paste = cloud.prefix / "etc/nova/api-paste.ini"
    return {
        "OS_NOVA_CONFIG_DIR": str(folder),
        "OS_NOVA_CONFIG_FILES": f"{paste};nova.conf",
    }


def _web_process(lab: Lab, cloud: NovaCloud, service: WebService) -> ProcessSpec:
    folder = cloud.configuration_folder(service.name)
    environment = {f"OS_{service.name.upper()}_CONFIG_DIR": str(folder)}
    if service is NOVA:
        environment = nova_environment(cloud, folder)
    command = [str(cloud.prefix / "bin/uwsgi"), "--ini", str(folder / "uwsgi.ini")]
    return process(lab, HOST, _PROCESS[service], command, environment)


_MODULES = {
    KEYSTONE: "keystone.wsgi.api:application",
    PLACEMENT: "placement.wsgi.api:application",
    GLANCE: "glance.wsgi.api:application",
    NOVA: "nova.wsgi.osapi_compute:application",
}
_PROCESS = {
    KEYSTONE: "keystone",
    PLACEMENT: "placement",
    GLANCE: "glance-api",
    NOVA: "nova-api",
}

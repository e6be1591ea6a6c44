"""Neutron on the lab's controller: API and workers as operators run them."""

import sys
from pathlib import Path

from calico_openstack.lab import etcd_server, neutron_config
from calico_openstack.lab.keystone_access import KeystoneAccess
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

API_PORT = 9696
IDENTITY_FILTER = "calico_openstack.lab.identity:filter_factory"
KEYSTONE_FILTER = "keystonemiddleware.auth_token:filter_factory"
# uWSGI asks its workers to finish what they serve.
STOP_TIMEOUT = 15.0


def settings(
    lab: Lab, topology: Topology, keystone: KeystoneAccess | None = None
) -> NeutronSettings:
    """The configuration of the lab's Neutron, which tells Nova of ports if there is Keystone."""
    return NeutronSettings(
        state_dir=lab.host_folder("controller") / "neutron",
        prefix=Path(sys.prefix),
        etcd_endpoints=(etcd_server.endpoint(topology),),
        api_host=topology.controller.ipv4,
        api_port=API_PORT,
        api_socket=lab.api_socket,
        identity_filter=KEYSTONE_FILTER if keystone else IDENTITY_FILTER,
        keystone=keystone,
        nova_notifications=keystone is not None,
    )


def write_configuration(configuration: NeutronSettings) -> None:
    """Write Neutron's configuration files and make its folders."""
    for folder in (configuration.log_dir, configuration.state_dir / "lock"):
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in neutron_config.config_files(configuration).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def processes(lab: Lab, configuration: NeutronSettings) -> tuple[ProcessSpec, ...]:
    """The API and the workers."""
    namespace = lab.namespace("controller")

    def spec(name: str, command: list[str], env: dict[str, str]) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            host="controller",
            argv=tuple(inside_host(namespace, "controller", command)),
            env=env,
            log=str(lab.log_file(name)),
            stop_timeout=STOP_TIMEOUT,
        )

    environment = neutron_config.api_environment(configuration)
    return (
        spec("neutron-api", neutron_config.api_command(configuration), environment),
        spec("neutron-workers", neutron_config.workers_command(configuration), {}),
    )

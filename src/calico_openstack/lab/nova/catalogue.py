"""The web services that come with Nova: names, ports, and where they listen. Pure."""

from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab.keystone_access import KeystoneAccess
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology
from calico_openstack.lab.wsgi import tcp_address


@dataclass(frozen=True)
class WebService:
    """A service in Keystone's catalogue. `kind` is its type, `path` follows its root address."""

    name: str
    kind: str
    port: int
    path: str = ""


# The ports are those of each project's installation guide.
KEYSTONE = WebService("keystone", "identity", 5000, "/v3")
PLACEMENT = WebService("placement", "placement", 8778)
GLANCE = WebService("glance", "image", 9292)
NOVA = WebService("nova", "compute", 8774, "/v2.1")
NEUTRON = WebService("neutron", "network", 9696)

CATALOGUE = (KEYSTONE, PLACEMENT, GLANCE, NOVA, NEUTRON)


def url(topology: Topology, service: WebService) -> str:
    """The address of a service on the controller, as the catalogue has it."""
    address = tcp_address(topology.controller.ipv4, service.port)
    return f"http://{address}{service.path}"


def socket(lab: Lab, service: WebService) -> Path:
    """The Unix socket on which a service listens for the lab's own commands."""
    named = {NEUTRON: lab.api_socket, KEYSTONE: lab.keystone_socket}
    return named.get(service, lab.run / f"{service.name}.sock")


def keystone(topology: Topology) -> KeystoneAccess:
    """The lab's Keystone."""
    return KeystoneAccess(url(topology, KEYSTONE).removesuffix(KEYSTONE.path))

"""The servers of the lab's Nova, as `calico-lab status` lists them."""

from collections.abc import Sequence
from dataclasses import dataclass

from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.nova import catalogue
from calico_openstack.lab.nova.catalogue import NOVA
from calico_openstack.lab.rest import Resource, RestApi
from calico_openstack.lab.settings import Lab


@dataclass(frozen=True)
class Server:
    """A server: its name, Nova's status with what is being done to it, its host, its addresses.

    `host` is "-" for a server that has none, such as one that was shelved.
    """

    name: str
    state: str
    host: str
    addresses: tuple[str, ...]

    @property
    def well(self) -> bool:
        """Whether it runs and nothing is being done to it."""
        return self.state == "ACTIVE"


def find_all(lab: Lab) -> list[Server]:
    """The servers of all projects by name. Raises RestError."""
    nova = RestApi("Nova", catalogue.socket(lab, NOVA), {"X-Auth-Token": Keystone(lab).token()})
    found: Sequence[Resource] = nova.request("GET", "/v2.1/servers/detail?all_tenants=1")["servers"]
    return sorted(map(described, found), key=lambda server: server.name)


def described(server: Resource) -> Server:
    """A server from Nova's description of it (docs.openstack.org/api-ref/compute). Pure."""
    task = server["OS-EXT-STS:task_state"]
    return Server(
        name=server["name"],
        state=f"{server['status']}, {task}" if task else server["status"],
        host=server["OS-EXT-SRV-ATTR:host"] or "-",
        addresses=tuple(
            entry["addr"] for entries in server["addresses"].values() for entry in entries
        ),
    )

"""Who is known to Keystone: the administrator, the services with their users and addresses."""

import base64
import os
from pathlib import Path

from calico_openstack.lab import database
from calico_openstack.lab.keystone_access import ADMIN, PASSWORD, REGION, SERVICE_PROJECT
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.nova import catalogue
from calico_openstack.lab.nova.catalogue import CATALOGUE, KEYSTONE
from calico_openstack.lab.nova.configuration import NovaCloud
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology

# Clients ask for the public address, services for the internal one.
INTERFACES = ("public", "internal")
_KEY_BYTES = 32


def write_keys(cloud: NovaCloud) -> None:
    """Make the keys that sign tokens and encrypt credentials, unless they are there.

    A repository is a folder with Fernet keys named by numbers: 0 is the next one, the highest
    signs (docs.openstack.org/keystone/latest/admin/fernet-token-faq.html).
    """
    for name in ("fernet-keys", "credential-keys"):
        folder = cloud.configuration_folder("keystone") / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in ("0", "1"):
            _write_key(folder / number)


def bootstrap(lab: Lab, topology: Topology, cloud: NovaCloud) -> None:
    """Make the administrator and the usual roles. Raises CommandError."""
    address = catalogue.url(topology, KEYSTONE)
    configuration = cloud.configuration_folder("keystone") / "keystone.conf"
    command = [
        str(cloud.prefix / "bin/keystone-manage"),
        *("--config-file", str(configuration), "bootstrap"),
        *("--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION),
        *("--bootstrap-public-url", address, "--bootstrap-internal-url", address),
    ]
    database.execute(lab, command)


def register_services(keystone: Keystone, topology: Topology) -> None:
    """Make users, catalogue entries and addresses of all services. Raises RestError."""
    project = keystone.ensure("projects", name=SERVICE_PROJECT)["id"]
    known = {e["service_id"] for e in keystone.request("GET", "/v3/endpoints")["endpoints"]}
    for service in CATALOGUE:
        if service is not KEYSTONE:
            for role in (ADMIN, "service"):
                keystone.grant(service.name, project, role)
        entry = keystone.ensure("services", name=service.name, type=service.kind)
        for interface in INTERFACES if entry["id"] not in known else ():
            endpoint = {
                "service_id": entry["id"],
                "interface": interface,
                "region_id": REGION,
                "url": catalogue.url(topology, service),
            }
            keystone.request("POST", "/v3/endpoints", {"endpoint": endpoint})


def _write_key(path: Path) -> None:
    if not path.exists():
        path.write_bytes(base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)))
        path.chmod(0o600)

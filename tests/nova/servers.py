"""What the tests do with servers: by Nova's API, over their consoles, and by SSH from outside."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from calico_openstack.lab import etcd_server
from calico_openstack.lab.cloud import api, topology_of
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.nova import catalogue, guest, hypervisor, stock
from calico_openstack.lab.nova.catalogue import GLANCE, NOVA
from calico_openstack.lab.processes import spawn
from calico_openstack.lab.rest import RestApi, RestError
from calico_openstack.lab.settings import Lab

NETWORK = "private"
KEY = "tests"
# Seconds. Only ever the end of patience: the guests are emulated.
PATIENCE = 480.0
# New enough for today's form of every request here (docs.openstack.org/api-ref/compute).
_MICROVERSION = "2.79"

_ENDED = ("completed", "error", "failed", "cancelled")

Json = dict[str, Any]


def eventually(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    pause = 0.5
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        # Each question costs Nova a third of a second of the processor that the guests need.
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)


class Servers:
    """The servers of a lab, and what they need."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.neutron: NeutronApi = api(lab)
        self.hosts = [host.name for host in topology_of(lab).compute]
        token = {"X-Auth-Token": Keystone(lab).token()}
        headers = {**token, "OpenStack-API-Version": f"compute {_MICROVERSION}"}
        self.nova = RestApi("Nova", catalogue.socket(lab, NOVA), headers, PATIENCE)
        self._network = RestApi("Neutron", lab.api_socket, token)
        self._glance = RestApi("Glance", catalogue.socket(lab, GLANCE), token)
        self._key = folder / "key"
        self._prepare()

    def _prepare(self) -> None:
        network = self.neutron.create("networks", name=NETWORK)
        self.network_id = str(network["id"])
        self.subnet_id = self.subnet(self.network_id, "10.65.0.0/24")
        project = network["project_id"]
        (group,) = self.neutron.find_all("security-groups", name="default", project_id=project)
        ssh = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
        ping = {"IPv4": {"protocol": "icmp"}, "IPv6": {"protocol": "ipv6-icmp"}}
        self._rules = [
            self.neutron.create(
                "security-group-rules",
                security_group_id=group["id"],
                direction="ingress",
                ethertype=ethertype,
                **rule,
            )["id"]
            for ethertype, echo in ping.items()
            for rule in (echo, ssh)
        ]
        command = ["dropbearkey", "-t", "ed25519", "-f", str(self._key)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (public,) = [line for line in said.splitlines() if line.startswith("ssh-ed25519")]
        self.nova.request(
            "POST", "/v2.1/os-keypairs", {"keypair": {"name": KEY, "public_key": public}}
        )
        self._image = self._glance.request("GET", f"/v2/images?name={stock.IMAGE}")["images"][0]
        flavors = self.nova.request("GET", "/v2.1/flavors")["flavors"]
        self._flavor = next(f["id"] for f in flavors if f["name"] == stock.FLAVOR)

    def close(self) -> None:
        """Delete what all servers had."""
        for rule in self._rules:
            self.neutron.delete("security-group-rules", rule)
        self.neutron.delete("networks", self.network_id)
        self.nova.request("DELETE", f"/v2.1/os-keypairs/{KEY}")

    def subnet(self, network_id: str, cidr: str, mode: str = "") -> str:
        """Create a subnet, of IPv6 with the mode in which guests get their addresses."""
        modes = {"ipv6_address_mode": mode, "ipv6_ra_mode": mode} if mode else {}
        made = self.neutron.create(
            "subnets", network_id=network_id, cidr=cidr, ip_version=6 if mode else 4, **modes
        )
        return str(made["id"])

    # --- Nova's API ---------------------------------------------------------------------------

    def create(self, name: str, host: str, *, user_data: str = "", network: str = "") -> str:
        """Create a server on a host and wait until it is ACTIVE; return its id.

        Its network is the one of all servers unless another one's id is given.
        """
        body: Json = {
            "name": name,
            "imageRef": self._image["id"],
            "flavorRef": self._flavor,
            "networks": [{"uuid": network or self.network_id}],
            "key_name": KEY,
            "availability_zone": f"nova:{host}",
        }
        if user_data:
            body["user_data"] = base64.b64encode(user_data.encode()).decode()
        made = self.nova.request("POST", "/v2.1/servers", {"server": body})["server"]["id"]
        self.await_status(made, "ACTIVE")
        return str(made)

    def show(self, server: str) -> Json:
        shown: Json = self.nova.request("GET", f"/v2.1/servers/{server}")["server"]
        return shown

    def named(self, name: str) -> Json:
        (found,) = self.nova.request("GET", f"/v2.1/servers?name={name}")["servers"]
        return self.show(found["id"])

    def act(self, server: str, action: str, arguments: Json | None = None) -> None:
        self.nova.request("POST", f"/v2.1/servers/{server}/action", {action: arguments})

    def await_status(self, server: str, status: str) -> None:
        """Wait until a server has a status and nothing is being done to it."""

        def reached() -> bool:
            shown = self.show(server)
            failed = shown["status"] == "ERROR" and status != "ERROR"
            assert not failed, shown.get("fault", shown)
            return shown["status"] == status and shown["OS-EXT-STS:task_state"] is None

        eventually(reached, f"server {server} is {status}")

    def is_up(self, host: str) -> bool:
        """Whether Nova hears a host's nova-compute."""
        return str(self._service(host)["state"]) == "up"

    def force_down(self, host: str) -> None:
        """Tell Nova that a host is dead."""
        url = f"/v2.1/os-services/{self._service(host)['id']}"
        self.nova.request("PUT", url, {"forced_down": True})

    def force_up(self, host: str) -> bool:
        """Tell Nova that it no longer is; False when Nova waits for its cleaning up."""
        url = f"/v2.1/os-services/{self._service(host)['id']}"
        try:
            self.nova.request("PUT", url, {"forced_down": False})
        except RestError as error:
            assert error.status == 400, error
            return False
        return True

    def _service(self, host: str) -> Json:
        url = f"/v2.1/os-services?host={host}&binary=nova-compute"
        service: Json = self.nova.request("GET", url)["services"][0]
        return service

    def has_no_guests(self, host: str) -> bool:
        """Whether a host's libvirt runs and knows no guest, not even one that is shut off."""
        (found,) = [each for each in topology_of(self.lab).compute if each.name == host]
        uri = f"qemu+unix:///system?socket={hypervisor.socket(self.lab, found)}"
        command = inside(self.lab.namespace(host), ["virsh", "-c", uri, "list", "--all", "--name"])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode == 0 and not done.stdout.split()

    def host_of(self, server: str) -> str:
        return str(self.show(server)["OS-EXT-SRV-ATTR:host"])

    def migrate(self, server: str, host: str) -> str:
        """Migrate a server live; return the status with which Nova ended it."""
        self.begin_migration(server, host)
        return self.await_migration(server)

    def begin_migration(self, server: str, host: str) -> None:
        """Ask for a live migration."""
        self.act(server, "os-migrateLive", {"host": host, "block_migration": "auto"})

    def await_migration(self, server: str) -> str:
        """Wait for the end of the newest migration; return the status with which Nova ended it."""
        self._await_end(server)
        self.await_status(server, "ACTIVE")
        return str(self.migration(server)["status"])

    def abort_migration(self, server: str) -> None:
        """Abort the migration that runs, by the real client, and wait for its end.

        This release of Nova rolls back what it was told to abort, then takes the end of its own
        call to libvirt for a failure, and puts the server, which runs, into ERROR.
        """
        self.openstack("server", "migration", "abort", server, str(self.migration(server)["id"]))
        self._await_end(server)
        with contextlib.suppress(AssertionError):
            eventually(lambda: self.show(server)["status"] == "ERROR", "ERROR", timeout=60.0)
            self.act(server, "os-resetState", {"state": "active"})
        self.await_status(server, "ACTIVE")

    def _await_end(self, server: str) -> None:
        eventually(lambda: self.migration(server)["status"] in _ENDED, "the migration's end")
        eventually(lambda: not self.show(server)["OS-EXT-STS:task_state"], "it is done with it")

    def migration(self, server: str) -> Json:
        """A server's newest migration."""
        found = self.nova.request("GET", f"/v2.1/os-migrations?instance_uuid={server}")
        newest: Json = max(found["migrations"], key=lambda one: int(one["id"]))
        return newest

    def delete_all(self) -> None:
        """Delete all servers and wait until they are gone."""
        for server in self.nova.request("GET", "/v2.1/servers")["servers"]:
            with contextlib.suppress(RestError):
                self.nova.request("DELETE", f"/v2.1/servers/{server['id']}")
        eventually(lambda: not self.nova.request("GET", "/v2.1/servers")["servers"], "no servers")

    # --- ports --------------------------------------------------------------------------------

    def ports(self, server: str) -> list[Json]:
        return self.neutron.find_all("ports", device_id=server)

    @contextlib.contextmanager
    def connected(self, router_id: str) -> Iterator[None]:
        """A router's interface on the servers' network, as long as it is wanted."""
        path = f"/v2.0/routers/{router_id}"
        body = {"subnet_id": self.subnet_id}
        self._network.request("PUT", f"{path}/add_router_interface", body)
        yield
        self._network.request("PUT", f"{path}/remove_router_interface", body)

    def addresses(self, server: str) -> list[str]:
        """The addresses of a server with one port."""
        (port,) = self.ports(server)
        return [str(each["ip_address"]) for each in port["fixed_ips"]]

    def address(self, server: str) -> str:
        """The first of them."""
        return self.addresses(server)[0]

    def routes(self, host: str) -> str:
        return self.run(host, ["ip", "route"])

    def links(self, host: str) -> str:
        return self.run(host, ["ip", "-o", "link"])

    def endpoints(self) -> list[str]:
        """The names of the endpoints in etcd, which begin with their hosts."""
        return self._stored("workloadendpoints")

    def live_migrations(self) -> list[str]:
        """The names of the live migrations in etcd."""
        return self._stored("livemigrations")

    def _stored(self, kind: str) -> list[str]:
        keys = etcd_server.keys(self.lab, f"/calico/resources/v3/projectcalico.org/{kind}/")
        return [key.rpartition("/")[2] for key in keys]

    # --- inside of the guest, and from outside ---------------------------------------------------

    def console(self, server: str) -> str:
        output: str = self.nova.request(
            "POST", f"/v2.1/servers/{server}/action", {"os-getConsoleOutput": {}}
        )["output"]
        return output

    def await_console(self, server: str, text: str) -> None:
        eventually(lambda: text in self.console(server), f"{text!r} on the console of {server}")

    def await_metadata(self, server: str) -> None:
        """Wait until the guest has its addresses, its name and its keys."""
        self.await_console(server, guest.METADATA_LINE)

    def ssh(self, address: str, command: str, *, timeout: float = 60.0) -> str:
        """Run a command in a guest, from the client outside of the cloud."""
        argv = ["dbclient", "-y", "-y", "-i", str(self._key), f"root@{address}", command]
        done = subprocess.run(
            inside(self.lab.namespace("client"), argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def pings(self, address: str) -> bool:
        """Whether an echo request from outside is answered."""
        argv = inside(self.lab.namespace("client"), ["ping", "-c1", "-W1", address])
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def run(self, host: str, argv: list[str]) -> str:
        command = inside(self.lab.namespace(host), argv)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def openstack(self, *arguments: str) -> str:
        """Run the real client, as the lab's users do."""
        return self.command("openstack", *arguments)

    def command(self, *arguments: str) -> str:
        """Run `calico-lab` with these arguments; return what it says."""
        environment = {
            **os.environ,
            "CALICO_LAB": self.lab.name,
            "CALICO_LAB_STATE": str(self.lab.state.parent),
        }
        argv = [sys.executable, "-m", "calico_openstack.lab.main", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def session(self, address: str, log: Path) -> Iterator[Callable[[], int]]:
        """An SSH session in which the guest counts; yields how to read how far it is."""
        count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done"
        argv = ["dbclient", "-y", "-y", "-i", str(self._key), f"root@{address}", count]

        def counted() -> int:
            numbers = [int(line) for line in log.read_text().split() if line.isdigit()]
            assert numbers == list(range(1, len(numbers) + 1)), "the guest began anew"
            return len(numbers)

        pid = spawn(inside(self.lab.namespace("client"), argv), log=log)
        try:
            eventually(lambda: log.exists() and counted() > 0, "the session has begun")
            yield counted
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

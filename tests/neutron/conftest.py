"""One real Neutron for all tests of this folder, and a cloud that each test has for itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from calico_openstack.datamodel.keys import (
    EndpointStatusKey,
    FelixStatusKey,
    ResourceKey,
    openstack_namespace,
    region_string,
)
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron.translate.endpoint import endpoint_name
from tests.etcd.test_etcd_roles import make_role
from tests.support.etcd import EtcdServer
from tests.support.neutron import Api, Json, NeutronServer, missing_programs
from tests.support.nova import NovaEvents
from tests.support.processes import eventually, free_port

NAMESPACE = "openstack"
REGION = "no-region"
AGENT_TYPE = "Calico per-host agent (felix)"

MIXED_REGION = "two"

METRICS_PORT = free_port()

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def neutron_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """The etcd of the Neutron under test."""
    server = EtcdServer(tmp_path_factory.mktemp("neutron-etcd")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nova_events() -> Iterator[NovaEvents]:
    """What Nova hears of the Neutron under test."""
    nova = NovaEvents().start()
    yield nova
    nova.stop()


@contextmanager
def running_neutron(
    folder: Path, etcd_endpoint: str, options: tuple[tuple[str, str], ...], **more: Any
) -> Iterator[NeutronServer]:
    """Run a Neutron with options of the driver; resynchronisations run at its start only."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    options = (("resync_interval_secs", "0"), *options)
    server = NeutronServer(folder, etcd_endpoint, options=options, **more)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def neutron(
    neutron_etcd: EtcdServer, nova_events: NovaEvents, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NeutronServer]:
    """A running Neutron."""
    with running_neutron(
        tmp_path_factory.mktemp("neutron"),
        neutron_etcd.endpoint,
        (("etcd_timeout", "5"), ("metrics_port", str(METRICS_PORT))),
        nova_endpoint=nova_events.endpoint,
    ) as server:
        yield server


@pytest.fixture(scope="session")
def mixed_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd in which Neutron has the role that it is documented to need."""
    options = ("--bcrypt-cost=4",)
    server = EtcdServer(tmp_path_factory.mktemp("mixed-etcd"), options=options).start()
    make_role(server, "neutron", region=MIXED_REGION)
    for user, role in (("root", "root"), ("neutron", "calico-neutron")):
        server.etcdctl("user", "add", f"{user}:password")
        server.etcdctl("user", "grant-role", user, role)
    server.etcdctl("auth", "enable")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mixed(
    mixed_etcd: EtcdServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NeutronServer]:
    """A Neutron of a region, with another driver beside ours and Neutron's own router plugin."""
    with running_neutron(
        tmp_path_factory.mktemp("mixed"),
        mixed_etcd.endpoint,
        (
            ("etcd_username", "neutron"),
            ("etcd_password", "password"),
            ("openstack_region", MIXED_REGION),
        ),
        mechanism_drivers=("calico", "openvswitch"),
        service_plugins=("qos", "router", "port_forwarding", "trunk", "segments", "local_ip"),
    ) as server:
        yield server


class Cloud:
    """A project's network with a subnet, a host with a live Felix, and views of both sides."""

    def __init__(self, neutron: NeutronServer, client: EtcdClient) -> None:
        self.number = next(_numbers)
        self.neutron = neutron
        self.etcd = client
        region = dict(neutron.options).get("openstack_region")
        self.region, self.namespace = region_string(region), openstack_namespace(region)
        self.admin: Api = neutron.api()
        self.nova = neutron.api("service", "admin", "member", "reader", "service")
        self.project = f"project-{self.number}"
        self.member = neutron.api(self.project)
        self.host = f"host-{self.number}"
        self._octet = itertools.count(1)

    def network(self, **attributes: Any) -> Json:
        """Create a network of the project."""
        return self.member.create("network", **{"name": f"net-{self.number}"} | attributes)

    def subnet(self, network: Json, api: Api | None = None, **attributes: Any) -> Json:
        """Create a subnet with addresses that no other test has."""
        number = (self.number << 4) + next(self._octet)
        cidr = f"10.{number >> 8}.{number & 255}.0/24"
        values = {"network_id": network["id"], "ip_version": 4, "cidr": cidr} | attributes
        return (api or self.member).create("subnet", **values)

    def port(self, network: Json, host: str | None = None, **attributes: Any) -> Json:
        """Create a port as Nova does: for a host and a device."""
        values: Json = {
            "network_id": network["id"],
            "project_id": self.project,
            "device_owner": "compute:nova",
            "device_id": f"vm-{next(_numbers)}",
            "binding:host_id": self.host if host is None else host,
        }
        return self.admin.create("port", **values | attributes)

    def felix(self, host: str | None = None, *, first: bool = True, uptime: float = 1.0) -> str:
        """Report a Felix as alive, and wait until Neutron knows it; return the host."""
        name = host or self.host
        status = AgentStatus(time="2026-01-01T00:00:00Z", uptime=uptime, first_update=first)
        self.etcd.put(FelixStatusKey(self.region, name).path, status.encode())
        eventually(lambda: self.agent_alive(name), 60, f"agent on {name} alive")
        return name

    def agent_alive(self, host: str) -> bool:
        """Tell whether Neutron takes Felix on a host for alive."""
        agents = self.admin.list("agent", f"host={host}&agent_type={AGENT_TYPE.replace(' ', '+')}")
        return any(agent["alive"] for agent in agents)

    def report(
        self,
        port: Json,
        status: str | None,
        host: str | None = None,
        floating: tuple[str, ...] | None = None,
    ) -> None:
        """Report a port's status as Felix does; None takes the report back.

        Without *floating* nothing is said of floating IPs, as upstream's Felix does.
        """
        key = EndpointStatusKey(
            self.region,
            self.host if host is None else host,
            "openstack",
            f"{self.namespace}/{port['device_id']}",
            port["id"],
        )
        if status is None:
            self.etcd.delete(key.path)
        else:
            report = EndpointStatus(status=status, floating_ips=floating)
            self.etcd.put(key.path, report.encode())

    def status(self, port: Json) -> str:
        """Return a port's status in Neutron."""
        result: str = self.admin.show("port", port["id"])["status"]
        return result

    def endpoint_path(self, port: Json, host: str | None = None) -> str:
        """Return the key of a port's endpoint on a host."""
        name = endpoint_name(self.host if host is None else host, port["device_id"], port["id"])
        assert name is not None
        return ResourceKey("WorkloadEndpoint", name, self.namespace).path

    def endpoint(self, port: Json, host: str | None = None) -> Json | None:
        """Return the stored endpoint of a port."""
        return self.stored(self.endpoint_path(port, host))

    def migration(self, port: Json, host: str) -> Json | None:
        """Return the stored migration of a port to a host."""
        path = self.endpoint_path(port, host)
        return self.stored(path.replace("workloadendpoints", "livemigrations"))

    def policy(self, group_id: str) -> Json | None:
        """Return the stored policy of a security group."""
        return self.stored(
            ResourceKey("NetworkPolicy", f"ossg.default.{group_id}", self.namespace).path
        )

    def stored(self, path: str) -> Json | None:
        """Return the JSON value of a key."""
        kv = self.etcd.get(path)
        return None if kv is None else json.loads(kv.value)


@pytest.fixture
def cloud(neutron: NeutronServer, neutron_etcd: EtcdServer) -> Iterator[Cloud]:
    """Names and addresses of its own in the Neutron that all tests share."""
    with neutron_etcd.client() as client:
        yield Cloud(neutron, client)

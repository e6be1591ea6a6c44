"""What one process of Neutron needs for ports, with a mechanism driver; prints JSON.

A program of its own for each driver, since ML2 is configured once in a process.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.models import securitygroup as group_models
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import context as neutron_context
from neutron_lib.db import api as db_api
from neutron_lib.db import standard_attr

from calico_openstack.etcd import EtcdClient, EtcdConfig
from calico_openstack.neutron import status_database
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.status import Agent, AgentKind
from calico_openstack.neutron.sync import Synchroniser
from tests.support import inner_neutron

_PROJECT = "project"
# The host to which Neutron's own driver for tests binds ports.
HOST = "host-ovs-no_filter"
_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call: milliseconds, of the processor too, statements of SQL, and requests to etcd.

    Medians, but for etcd's requests, of which etcd itself knows the number for all calls.
    """

    wall_ms: float
    cpu_ms: float
    statements: float
    requests: float


class Cloud:
    """A network, a security group, and what counts statements."""

    def __init__(self, plugin: Any, etcd_endpoint: str) -> None:
        self.plugin = plugin
        self._etcd_endpoint = etcd_endpoint
        self.statements = 0
        engine = db_api.get_context_manager().writer.get_engine()
        sa.event.listen(engine, "before_cursor_execute", self._count)
        status_database.register_agent(Agent(AgentKind.FELIX, HOST), True)
        self.new_network()

    def new_network(self) -> None:
        """Go on with another network and group; subnets of different networks do not overlap."""
        number = self.plugin.get_subnets_count(context())
        self.network = self.create("network", name=f"n{number}")["id"]
        cidr = f"10.{number}.0.0/16"
        subnet = self.create("subnet", network_id=self.network, ip_version=4, cidr=cidr)
        self.subnet = subnet["id"]
        self.group = self.create("security_group", name=f"g{number}")["id"]
        self.free = IPv4Address(f"10.{number}.128.0")

    def create(self, kind: str, **values: Any) -> Any:
        """Create an object by the plugin."""
        project = {"project_id": _PROJECT, "tenant_id": _PROJECT}
        body = inner_neutron.body(kind, values | project)
        return getattr(self.plugin, f"create_{kind}")(context(), body)

    def new_port(self) -> str:
        """Create a port as Nova does."""
        port = self.create(
            "port",
            network_id=self.network,
            device_owner="compute:nova",
            device_id=str(uuid.uuid4()),
            security_groups=[self.group],
            **{"binding:host_id": HOST},
        )
        return str(port["id"])

    def cost(self, action: Callable[[], object], times: int) -> Cost:
        """Measure an action."""
        for _ in range(_WARM_UP if times > _WARM_UP else 0):
            action()
        walls, cpus, counts = [], [], []
        requests = self._requests()
        for _ in range(times):
            self.statements = 0
            wall, cpu = time.monotonic(), time.thread_time()
            action()
            walls.append(time.monotonic() - wall)
            cpus.append(time.thread_time() - cpu)
            counts.append(self.statements)
        medians = (1000 * statistics.median(walls), 1000 * statistics.median(cpus))
        requests = self._requests() - requests
        return Cost(*medians, statistics.median(counts), requests / times)

    def _requests(self) -> float:
        """Return how many requests etcd has been sent, by its metrics."""
        with urllib.request.urlopen(f"{self._etcd_endpoint}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counters = (line for line in lines if line.startswith("grpc_server_started_total{"))
        return sum(float(line.rpartition(" ")[2]) for line in counters)

    def _count(self, *_arguments: Any) -> None:
        self.statements += 1


def context() -> Any:
    """Return an administrator's context."""
    return neutron_context.Context("user", _PROJECT, is_admin=True)


def fill(cloud: Cloud, number: int) -> None:
    """Put ports into the database that nobody has told the driver of."""
    with db_api.CONTEXT_WRITER.using(neutron_context.get_admin_context()) as session:
        last = session.scalar(sa.select(sa.func.max(standard_attr.StandardAttribute.id)))
        first = int(last or 0) + 1
        session.execute(
            sa.insert(standard_attr.StandardAttribute),
            [{"id": first + n, "resource_type": "ports"} for n in range(number)],
        )
        ids = [str(uuid.uuid4()) for _ in range(number)]
        ports, addresses, bindings, members = [], [], [], []
        for n, port_id in enumerate(ids):
            ports.append(
                {
                    "id": port_id,
                    "project_id": _PROJECT,
                    "network_id": cloud.network,
                    "mac_address": f"fa:16:3e:f0:{n >> 8:02x}:{n & 255:02x}",
                    "admin_state_up": True,
                    "status": "ACTIVE",
                    "device_id": f"vm-{n}",
                    "device_owner": "compute:nova",
                    "standard_attr_id": first + n,
                }
            )
            address = {"network_id": cloud.network, "subnet_id": cloud.subnet}
            addresses.append({"port_id": port_id, "ip_address": str(cloud.free + n)} | address)
            bindings.append(
                {"port_id": port_id, "host": HOST, "vif_type": "tap", "status": "ACTIVE"}
                | {"vif_details": "", "profile": "", "vnic_type": "normal"}
            )
            members.append({"port_id": port_id, "security_group_id": cloud.group})
        for model, values in (
            (models_v2.Port, ports),
            (models_v2.IPAllocation, addresses),
            (ml2_models.PortBinding, bindings),
            (group_models.SecurityGroupPortBinding, members),
        ):
            session.execute(sa.insert(model), values)


def measure(cloud: Cloud, ports: int) -> dict[str, Any]:
    """Measure what every driver can be asked for."""
    created: list[str] = []
    create = cloud.cost(lambda: created.append(cloud.new_port()), ports)
    names = iter(range(10**6))
    first = created[0]

    def rename() -> None:
        name = {"port": {"name": f"n{next(names)}"}}
        cloud.plugin.update_port(context(), first, name)

    update = cloud.cost(rename, max(10, ports // 3))
    delete = cloud.cost(lambda: cloud.plugin.delete_port(context(), created.pop()), ports // 2)
    return {"create": asdict(create), "update": asdict(update), "delete": asdict(delete)}


def measure_many(cloud: Cloud, etcd_endpoint: str, ports: int, members: int) -> dict[str, Any]:
    """Measure comparisons of many ports, and changes of a group with many members."""
    result: dict[str, Any] = {}
    with EtcdClient(EtcdConfig((etcd_endpoint,))) as client:
        synchroniser = Synchroniser(client, "openstack", "no-region")

        def compare() -> None:
            report = Resync(synchroniser).run()
            assert report.error is None, report.error
            result["writes"] = report.writes

        fill(cloud, members)
        result["first"] = asdict(cloud.cost(compare, 1))
        port = iter(range(1, 60000))

        def add_rule() -> None:
            number = next(port)
            cloud.create(
                "security_group_rule",
                security_group_id=cloud.group,
                direction="ingress",
                ethertype="IPv4",
                protocol="tcp",
                port_range_min=number,
                port_range_max=number,
                remote_group_id=cloud.group,
            )

        def rename_group() -> None:
            name = {"security_group": {"name": f"g{next(port)}"}}
            cloud.plugin.update_security_group(context(), cloud.group, name)

        result["rule"] = asdict(cloud.cost(add_rule, 5))
        result["rename"] = asdict(cloud.cost(rename_group, 1))
        # In another group and network, beside those that are there.
        cloud.new_network()
        fill(cloud, ports - members)
        result["repair"] = asdict(cloud.cost(compare, 1))
        result["repaired"] = result["writes"]
        result["clean"] = asdict(cloud.cost(compare, 3))
    return result


def create_on_a_signal(cloud: Cloud, ports: int) -> dict[str, Any]:
    """Create ports when a line comes in, together with other processes."""
    for _ in range(_WARM_UP):
        cloud.new_port()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for _ in range(ports):
        cloud.new_port()
    return {"began": began, "ended": time.monotonic()}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver")
    parser.add_argument("connection")
    parser.add_argument("etcd")
    parser.add_argument("--ports", type=int, default=50)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--together", action="store_true", help="create ports on a signal only")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="neutron-bench-") as folder:
        plugin = inner_neutron.start(
            Path(folder), chosen.etcd, driver=chosen.driver, connection=chosen.connection
        )
        cloud = Cloud(plugin, chosen.etcd)
        if chosen.together:
            result = create_on_a_signal(cloud, chosen.ports)
        else:
            result = measure(cloud, chosen.ports)
        if chosen.many:
            members = chosen.many // 3
            result["many"] = measure_many(cloud, chosen.etcd, chosen.many, members)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()

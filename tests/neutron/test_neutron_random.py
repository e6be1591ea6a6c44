"""Random requests from several clients, with crashes and outages of etcd in between.

At the end etcd is the translation of the database, without any resynchronisation: the audit of
``calico-resync`` finds nothing that it would write.
"""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.neutron.conftest import Cloud
from tests.neutron.test_neutron_resync import journal
from tests.neutron.test_neutron_resync_command import resync
from tests.support.etcd import EtcdServer
from tests.support.neutron import ApiError
from tests.support.processes import eventually

_CLIENTS = 4
_REQUESTS = 25


class Tenant:
    """Does random things to a few objects that all clients share."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.hosts = [cloud.felix(), cloud.felix(f"{cloud.host}-b"), cloud.felix(f"{cloud.host}-c")]
        self.networks = [cloud.network(name=f"n{n}") for n in range(2)]
        self.subnets = [cloud.subnet(network) for network in self.networks]
        self.groups = [cloud.member.create("security_group", name=f"g{n}") for n in range(3)]
        self.ports = [cloud.port(network) for network in self.networks for _ in range(2)]
        self.rules: list[str] = []
        self.address_group = cloud.member.create("address_group", name="ag", addresses=[])
        external = cloud.admin.create("network", name="outside", router__external=True)
        cloud.subnet(external, cloud.admin)
        router = cloud.member.create(
            "router", name="r", external_gateway_info={"network_id": external["id"]}
        )
        for subnet in self.subnets:
            path = f"routers/{router['id']}/add_router_interface"
            cloud.member.request("PUT", path, {"subnet_id": subnet["id"]})
        self.floating = [
            cloud.member.create("floatingip", floating_network_id=external["id"]) for _ in range(2)
        ]

    def operations(self) -> list[Callable[[random.Random], object]]:
        return [
            self.new_port,
            self.delete_port,
            self.change_port,
            self.change_port,
            self.move_port,
            self.announce_migration,
            self.bind_elsewhere,
            self.activate,
            self.detach,
            self.change_rules,
            self.change_addresses,
            self.rename,
            self.switch_network,
            self.change_subnet,
            self.associate,
            self.associate,
        ]

    def new_port(self, rng: random.Random) -> None:
        self.ports.append(self.cloud.port(rng.choice(self.networks), host=rng.choice(self.hosts)))

    def delete_port(self, rng: random.Random) -> None:
        if len(self.ports) > 2:
            self.cloud.admin.delete("port", self.ports.pop(rng.randrange(len(self.ports)))["id"])

    def change_port(self, rng: random.Random) -> None:
        groups = [group["id"] for group in self.groups if rng.random() < 0.5]
        pairs = [{"ip_address": f"192.0.2.{rng.randrange(1, 99)}"}] * (rng.random() < 0.5)
        self.cloud.member.update(
            "port",
            rng.choice(self.ports)["id"],
            security_groups=groups,
            allowed_address_pairs=pairs,
            admin_state_up=rng.random() < 0.9,
        )

    def move_port(self, rng: random.Random) -> None:
        self.cloud.nova.update(
            "port", rng.choice(self.ports)["id"], binding__host_id=rng.choice([*self.hosts, "none"])
        )

    def announce_migration(self, rng: random.Random) -> None:
        profile = {"migrating_to": rng.choice(self.hosts)} if rng.random() < 0.6 else {}
        self.cloud.nova.update("port", rng.choice(self.ports)["id"], binding__profile=profile)

    def bind_elsewhere(self, rng: random.Random) -> None:
        path = f"ports/{rng.choice(self.ports)['id']}/bindings"
        host = rng.choice(self.hosts)
        if rng.random() < 0.6:
            self.cloud.nova.request("POST", path, {"binding": {"host": host}})
        else:
            for binding in self.cloud.nova.request("GET", path)["bindings"]:
                if binding["status"] == "INACTIVE":
                    self.cloud.nova.request("DELETE", f"{path}/{binding['host']}")

    def activate(self, rng: random.Random) -> None:
        path = f"ports/{rng.choice(self.ports)['id']}/bindings"
        for binding in self.cloud.nova.request("GET", path)["bindings"]:
            if binding["status"] == "INACTIVE":
                self.cloud.nova.request("PUT", f"{path}/{binding['host']}/activate")
                return

    def detach(self, rng: random.Random) -> None:
        port = rng.choice(self.ports)
        none = {"device_owner": "", "device_id": "", "binding__host_id": ""}
        self.cloud.nova.update("port", port["id"], **none, binding__profile={})
        if rng.random() < 0.7:
            again = {"device_owner": "compute:nova", "device_id": f"again-{rng.randrange(9)}"}
            self.cloud.nova.update(
                "port", port["id"], **again, binding__host_id=rng.choice(self.hosts)
            )

    def change_rules(self, rng: random.Random) -> None:
        if self.rules and rng.random() < 0.4:
            rule = self.rules.pop(rng.randrange(len(self.rules)))
            self.cloud.member.delete("security_group_rule", rule)
            return
        remote = rng.choice(
            [
                {"remote_group_id": rng.choice(self.groups)["id"]},
                {"remote_address_group_id": self.address_group["id"]},
                {"remote_ip_prefix": "198.51.100.0/24"},
            ]
        )
        rule_made = self.cloud.member.create(
            "security_group_rule",
            security_group_id=rng.choice(self.groups)["id"],
            direction=rng.choice(["ingress", "egress"]),
            protocol="tcp",
            port_range_min=(number := rng.randrange(1, 60000)),
            port_range_max=number,
            **remote,
        )
        self.rules.append(rule_made["id"])

    def change_addresses(self, rng: random.Random) -> None:
        verb = rng.choice(["add_addresses", "remove_addresses"])
        addresses = [f"203.0.113.{rng.randrange(1, 6)}/32"]
        path = f"address-groups/{self.address_group['id']}/{verb}"
        self.cloud.member.request("PUT", path, {"addresses": addresses})

    def rename(self, rng: random.Random) -> None:
        kind, among = rng.choice([("security_group", self.groups), ("network", self.networks)])
        self.cloud.member.update(kind, rng.choice(among)["id"], name=f"name-{rng.randrange(99)}")

    def switch_network(self, rng: random.Random) -> None:
        network = rng.choice(self.networks)
        self.cloud.member.update("network", network["id"], admin_state_up=rng.random() < 0.8)

    def change_subnet(self, rng: random.Random) -> None:
        servers = [f"192.0.2.{rng.randrange(1, 9)}"]
        self.cloud.member.update(
            "subnet",
            rng.choice(self.subnets)["id"],
            dns_nameservers=servers,
            enable_dhcp=rng.random() < 0.8,
        )

    def associate(self, rng: random.Random) -> None:
        port = rng.choice([None, *self.ports])
        self.cloud.member.update(
            "floatingip", rng.choice(self.floating)["id"], port_id=port["id"] if port else None
        )


def attempt(operation: Callable[[random.Random], object], rng: random.Random) -> None:
    """Do something; that it fails is part of the game."""
    try:
        operation(rng)
    except (ApiError, OSError, ValueError, IndexError, http.client.HTTPException):
        time.sleep(0.2)


def faults(cloud: Cloud, etcd: EtcdServer, rng: random.Random) -> Iterator[str]:
    """Yield the names of faults after they were there for a while."""
    kinds = ["etcd", "api", "workers"]
    rng.shuffle(kinds)
    for kind in kinds:
        time.sleep(rng.uniform(2, 5))
        if kind == "etcd":
            etcd.kill()
            time.sleep(rng.uniform(1, 7))
            etcd.start()
        elif kind == "api":
            assert cloud.neutron.api_process is not None
            cloud.neutron.api_process.kill()
            cloud.neutron.start_api()
        else:
            assert cloud.neutron.workers is not None
            cloud.neutron.workers.kill()
            cloud.neutron.start_workers()
        yield kind


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_etcd_ends_as_the_translation_of_the_database(
    cloud: Cloud, neutron_etcd: EtcdServer, seed: int
) -> None:
    tenant = Tenant(cloud)
    resync(cloud)

    def client(number: int) -> None:
        rng = random.Random(seed * 100 + number)
        for _ in range(_REQUESTS):
            attempt(rng.choice(tenant.operations()), rng)

    with ThreadPoolExecutor(_CLIENTS) as clients:
        running = [clients.submit(client, number) for number in range(_CLIENTS)]
        happened = list(faults(cloud, neutron_etcd, random.Random(seed)))
        for future in running:
            future.result()
    assert len(happened) == 3
    eventually(lambda: journal(cloud) == [], 180, "an empty journal")
    status, audit = resync(cloud, "--audit")
    found = {name: phase["keys"] for name, phase in audit["phases"].items() if phase["keys"]}
    assert found == {}, found
    assert status == 0
    # There was something to compare, and it goes on working.
    network = tenant.networks[0]
    cloud.member.update("network", network["id"], admin_state_up=True)
    assert cloud.endpoint(cloud.port(network)) is not None
    assert resync(cloud, "--audit")[0] == 0
    assert audit["phases"]["policy"]["neutron_items"] > len(tenant.groups)

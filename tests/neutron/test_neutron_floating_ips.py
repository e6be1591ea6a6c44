"""Floating IPs are in their ports' endpoints when the request ends, and ACTIVE when programmed."""

from __future__ import annotations

import pytest

from tests.neutron.conftest import Cloud
from tests.support.neutron import ApiError, Json
from tests.support.processes import eventually


class Outside:
    """A project's network that a router connects to an external one."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        cloud.felix()
        self.external = cloud.admin.create("network", name="outside", router__external=True)
        cloud.subnet(self.external, cloud.admin, enable_dhcp=False)
        self.network = cloud.network()
        subnet = cloud.subnet(self.network)
        self.router = cloud.member.create(
            "router", name="r", external_gateway_info={"network_id": self.external["id"]}
        )
        cloud.member.request(
            "PUT",
            f"routers/{self.router['id']}/add_router_interface",
            {"subnet_id": subnet["id"]},
        )

    def floating_ip(self, port: Json | None = None) -> Json:
        attributes = {"port_id": port["id"]} if port else {}
        return self.cloud.member.create(
            "floatingip", floating_network_id=self.external["id"], **attributes
        )

    def nats(self, port: Json) -> list[Json]:
        endpoint = self.cloud.endpoint(port)
        assert endpoint is not None
        result: list[Json] = endpoint["spec"].get("ipNATs", [])
        return result

    def status(self, floating_ip: Json) -> str:
        result: str = self.cloud.member.show("floatingip", floating_ip["id"])["status"]
        return result

    def active_port(self) -> Json:
        port = self.cloud.port(self.network)
        self.cloud.report(port, "up")
        eventually(lambda: self.cloud.status(port) == "ACTIVE", 60, "port ACTIVE")
        return port


@pytest.fixture
def outside(cloud: Cloud) -> Outside:
    return Outside(cloud)


def nat(port: Json, floating_ip: Json) -> Json:
    return {
        "internalIP": port["fixed_ips"][0]["ip_address"],
        "externalIP": floating_ip["floating_ip_address"],
    }


def test_a_floating_ip_from_its_birth_to_its_end(outside: Outside) -> None:
    member = outside.cloud.member
    first, second = outside.active_port(), outside.active_port()
    floating = outside.floating_ip()
    assert floating["status"] == "DOWN"

    associated = member.update("floatingip", floating["id"], port_id=first["id"])
    assert associated["status"] == "ACTIVE"
    assert outside.nats(first) == [nat(first, floating)]

    moved = member.update("floatingip", floating["id"], port_id=second["id"])
    assert moved["status"] == "ACTIVE"
    assert outside.nats(first) == []
    assert outside.nats(second) == [nat(second, floating)]

    alone = member.update("floatingip", floating["id"], port_id=None)
    assert alone["status"] == outside.status(floating) == "DOWN"
    assert outside.nats(second) == []

    member.update("floatingip", floating["id"], port_id=second["id"])
    member.delete("floatingip", floating["id"])
    assert outside.nats(second) == []


def test_a_floating_ip_is_active_only_while_its_port_is_programmed(outside: Outside) -> None:
    port = outside.cloud.port(outside.network)
    floating = outside.floating_ip(port)
    assert floating["status"] == "DOWN"
    assert outside.nats(port) == [nat(port, floating)]
    for report, status in (("up", "ACTIVE"), ("error", "DOWN"), ("up", "ACTIVE"), (None, "DOWN")):
        outside.cloud.report(port, report)
        eventually(lambda s=status: outside.status(floating) == s, 60, status)  # type: ignore[misc]


def test_a_floating_ip_is_active_when_the_kernel_has_it(outside: Outside) -> None:
    """An association with a port that is up already is not in force before Felix says so."""
    cloud = outside.cloud
    first, second = cloud.port(outside.network), cloud.port(outside.network)
    for port in (first, second):
        cloud.report(port, "up", floating=())
    floating = outside.floating_ip(first)
    assert floating["status"] == outside.status(floating) == "DOWN"
    own = (floating["floating_ip_address"],)

    def becomes(status: str) -> None:
        eventually(lambda: outside.status(floating) == status, 60, status)

    cloud.report(first, "up", floating=own)
    becomes("ACTIVE")
    moved = cloud.member.update("floatingip", floating["id"], port_id=second["id"])
    assert moved["status"] == "DOWN"
    cloud.report(first, "up", floating=())
    cloud.report(second, "up", floating=("192.0.2.77",))
    assert outside.status(floating) == "DOWN"
    cloud.report(second, "up", floating=("192.0.2.77", *own))
    becomes("ACTIVE")
    cloud.report(second, "up", floating=("192.0.2.77",))
    becomes("DOWN")


def test_a_port_that_is_deleted_sets_its_floating_ip_free(outside: Outside) -> None:
    port = outside.active_port()
    floating = outside.floating_ip(port)
    assert outside.status(floating) == "ACTIVE"
    outside.cloud.admin.delete("port", port["id"])
    after = outside.cloud.member.show("floatingip", floating["id"])
    assert after["port_id"] is None
    assert after["status"] == "DOWN"
    assert outside.cloud.endpoint(port) is None


def test_what_routers_cannot_do_is_refused(outside: Outside) -> None:
    member = outside.cloud.member
    with pytest.raises(ApiError) as error:
        route = {"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"}
        member.update("router", outside.router["id"], routes=[route])
    assert error.value.status == 400
    with pytest.raises(ApiError) as error:
        member.request("POST", f"floatingips/{outside.router['id']}/port_forwardings", {})
    assert error.value.status == 404

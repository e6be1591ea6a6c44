"""What other service plugins offer is refused for routed ports, with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.neutron.conftest import Cloud
from tests.neutron.test_neutron_floating_ips import Outside
from tests.support.etcd import EtcdServer
from tests.support.neutron import ApiError, Json, NeutronServer, missing_programs


@pytest.fixture(scope="module")
def mixed_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("mixed-etcd")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mixed(
    mixed_etcd: EtcdServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NeutronServer]:
    """A Neutron with another driver beside ours, and with Neutron's own router plugin."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    server = NeutronServer(
        tmp_path_factory.mktemp("mixed"),
        mixed_etcd.endpoint,
        options=(("startup_resync", "never"), ("resync_interval_secs", "0")),
        mechanism_drivers=("calico", "openvswitch"),
        service_plugins=("qos", "router", "port_forwarding", "trunk"),
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def outside(mixed: NeutronServer, mixed_etcd: EtcdServer) -> Iterator[Outside]:
    with mixed_etcd.client() as client:
        yield Outside(Cloud(mixed, client))


def refused(error: pytest.ExceptionInfo[ApiError], status: int, text: str) -> None:
    assert error.value.status == status
    assert text in str(error.value)


def test_ports_of_a_floating_ip_are_not_forwarded(outside: Outside) -> None:
    port = outside.cloud.port(outside.network)
    floating = outside.floating_ip()
    forwarding = {
        "protocol": "tcp",
        "internal_port_id": port["id"],
        "internal_ip_address": port["fixed_ips"][0]["ip_address"],
        "internal_port": 22,
        "external_port": 2222,
    }
    path = f"floatingips/{floating['id']}/port_forwardings"
    with pytest.raises(ApiError) as error:
        outside.cloud.member.request("POST", path, {"port_forwarding": forwarding})
    refused(error, 400, "forwarding of single ports is not supported")
    assert outside.cloud.member.request("GET", path) == {"port_forwardings": []}


def test_a_floating_ip_has_no_limits_of_its_own(outside: Outside) -> None:
    cloud = outside.cloud
    policy: Json = cloud.admin.request("POST", "qos/policies", {"policy": {"name": "p"}})["policy"]
    floating = outside.floating_ip(cloud.port(outside.network))
    with pytest.raises(ApiError) as error:
        cloud.admin.update("floatingip", floating["id"], qos_policy_id=policy["id"])
    refused(error, 400, "give the port a QoS policy")
    assert cloud.admin.show("floatingip", floating["id"])["qos_policy_id"] is None


def test_a_bound_port_is_no_parent_of_a_trunk(outside: Outside) -> None:
    """Neutron itself refuses it where no trunk driver knows the port's agent."""
    port = outside.cloud.port(outside.network)
    with pytest.raises(ApiError) as error:
        outside.cloud.admin.create("trunk", port_id=port["id"], sub_ports=[])
    refused(error, 409, port["id"])


def test_the_parent_of_a_trunk_is_not_bound(outside: Outside) -> None:
    cloud = outside.cloud
    port = cloud.port(outside.network, host="")
    cloud.admin.create("trunk", port_id=port["id"], sub_ports=[])
    bound = cloud.admin.update("port", port["id"], binding__host_id=cloud.host)
    assert bound["binding:vif_type"] == "binding_failed"
    assert "carries no VLANs" in cloud.neutron.logs()

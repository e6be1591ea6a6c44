"""Several regions share an etcd: each Neutron writes and believes what is of its own region."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from calico_openstack.datamodel.keys import (
    DhcpSubnetKey,
    EndpointStatusKey,
    FelixStatusKey,
    ResourceKey,
)
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from tests.etcd.test_etcd_roles import login
from tests.neutron.conftest import MIXED_REGION, NAMESPACE, REGION, Cloud
from tests.neutron.test_neutron_resync_command import resync
from tests.support.etcd import EtcdServer
from tests.support.neutron import NeutronServer
from tests.support.processes import eventually

OWN = f"openstack-region-{MIXED_REGION}"


@pytest.fixture
def cloud(mixed: NeutronServer, mixed_etcd: EtcdServer) -> Iterator[Cloud]:
    with login(mixed_etcd, "root") as client:
        yield Cloud(mixed, client)


def revisions(cloud: Cloud, *paths: str) -> list[int]:
    found = [cloud.etcd.get(path) for path in paths]
    return [0 if kv is None else kv.mod_revision for kv in found]


def test_a_region_leaves_what_is_of_another_alone(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    subnet = cloud.subnet(network)
    port = cloud.port(network)
    own = cloud.endpoint_path(port)
    assert f"/{OWN}/" in own
    assert cloud.endpoint(port) is not None
    assert cloud.policy(port["security_groups"][0]) is not None
    assert cloud.etcd.get(DhcpSubnetKey(cloud.region, subnet["id"]).path) is not None

    # The other region has the same host, device and port: names say nothing across regions.
    others = [
        own.replace(f"/{OWN}/", f"/{NAMESPACE}/"),
        ResourceKey("NetworkPolicy", "ossg.default.foreign", NAMESPACE).path,
        ResourceKey("LiveMigration", own.rpartition("/")[2], NAMESPACE).path,
        DhcpSubnetKey(REGION, "foreign").path,
        f"/calico/neutron/v1/{REGION}/order",
    ]
    assert revisions(cloud, *others) == [0] * len(others)
    for path in others:
        cloud.etcd.put(path, b"{}")
    before = revisions(cloud, *others)
    resync(cloud)
    status, report = resync(cloud)
    assert (status, report["writes"]) == (0, 0)
    cloud.admin.delete("port", port["id"])
    assert cloud.endpoint(port) is None
    assert revisions(cloud, *others) == before
    for path in others:
        cloud.etcd.delete(path)


def test_a_region_believes_reports_of_its_own_only(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    foreign = f"{cloud.host}-foreign"
    alive = AgentStatus(time="2026-01-01T00:00:00Z", uptime=1.0, first_update=True)
    cloud.etcd.put(FelixStatusKey(REGION, foreign).path, alive.encode())
    workload = f"{NAMESPACE}/{port['device_id']}"
    report = EndpointStatusKey(REGION, cloud.host, "openstack", workload, port["id"])
    cloud.etcd.put(report.path, EndpointStatus(status="up").encode())
    # Somebody else's namespace below the own region is not believed either.
    misplaced = EndpointStatusKey(cloud.region, cloud.host, "openstack", workload, port["id"])
    cloud.etcd.put(misplaced.path, EndpointStatus(status="up").encode())
    witness = cloud.port(network)
    cloud.report(witness, "up")
    eventually(lambda: cloud.status(witness) == "ACTIVE", 60, "the witness ACTIVE")
    assert cloud.status(port) == "DOWN"
    assert not cloud.agent_alive(foreign)
    assert cloud.port(network, host=foreign)["binding:vif_type"] == "binding_failed"
    cloud.report(port, "up")
    eventually(lambda: cloud.status(port) == "ACTIVE", 60, "port ACTIVE")
    for path in (report.path, misplaced.path, FelixStatusKey(REGION, foreign).path):
        cloud.etcd.delete(path)

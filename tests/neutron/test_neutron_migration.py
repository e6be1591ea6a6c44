"""Live migration, step by step as Nova does it."""

from __future__ import annotations

import uuid

import pytest

from tests.neutron.conftest import Cloud
from tests.support.neutron import Api, Json
from tests.support.nova import NovaEvents
from tests.support.processes import eventually

PLUGGED = "network-vif-plugged"


class Migration:
    """A port of a virtual machine that runs on one host and may move to another."""

    def __init__(self, cloud: Cloud, nova: NovaEvents) -> None:
        self.cloud, self.events = cloud, nova
        self.source, self.target = cloud.felix(), cloud.felix(f"{cloud.host}-b")
        network = cloud.network()
        cloud.subnet(network)
        # Neutron tells Nova only of devices that have one of Nova's ids.
        self.port = cloud.port(network, device_id=str(uuid.uuid4()))
        self.api: Api = cloud.nova
        self.report("up", self.source)
        self.becomes("ACTIVE")
        eventually(lambda: self.plugged() == 1, 30, "first plugged event")
        stored = cloud.etcd.get(cloud.endpoint_path(self.port))
        assert stored is not None
        self.created = stored.create_revision

    def report(self, status: str | None, host: str) -> None:
        self.cloud.report(self.port, status, host)

    def becomes(self, status: str) -> None:
        eventually(lambda: self.cloud.status(self.port) == status, 60, f"port {status}")

    def plugged(self) -> int:
        return self.events.of_port(self.port["id"]).count(PLUGGED)

    def bind(self) -> None:
        """The conductor makes a binding on the target."""
        path = f"ports/{self.port['id']}/bindings"
        answer = self.api.request("POST", path, {"binding": {"host": self.target}})
        assert answer["binding"]["vif_type"] == "tap"
        assert answer["binding"]["status"] == "INACTIVE"

    def unbind(self, host: str) -> None:
        self.api.request("DELETE", f"ports/{self.port['id']}/bindings/{host}")

    def activate(self) -> None:
        path = f"ports/{self.port['id']}/bindings/{self.target}/activate"
        self.api.request("PUT", path)

    def announce(self, host: str | None) -> Json:
        """The target's compute service names itself in the profile, or takes it back."""
        profile = {"migrating_to": host} if host else {}
        return self.api.update("port", self.port["id"], binding__profile=profile)

    def check(self, *, source: bool = True, target: bool, migration: bool) -> None:
        """Check what is stored, and that the source's endpoint was never away."""
        cloud = self.cloud
        stored = cloud.etcd.get(cloud.endpoint_path(self.port))
        assert (stored is not None) is source
        if stored is not None:
            assert stored.create_revision == self.created
        there = cloud.etcd.get(cloud.endpoint_path(self.port, self.target))
        path = cloud.endpoint_path(self.port, self.target)
        announced = cloud.etcd.get(path.replace("workloadendpoints", "livemigrations"))
        assert (there is not None) is target
        assert (announced is not None) is migration
        if there is not None and announced is not None:
            assert announced.create_revision < there.create_revision


@pytest.fixture
def migration(cloud: Cloud, nova_events: NovaEvents) -> Migration:
    return Migration(cloud, nova_events)


def test_a_migration_as_nova_does_it(migration: Migration) -> None:
    migration.bind()
    migration.check(target=True, migration=True)
    port = migration.announce(migration.target)
    assert port["binding:host_id"] == migration.source
    assert port["binding:vif_type"] == "tap"
    migration.check(target=True, migration=True)
    # Binding anew on the source is no news to Nova, and makes the port ACTIVE again.
    assert migration.cloud.status(migration.port) == "ACTIVE"
    assert migration.plugged() == 1

    migration.report("down", migration.target)
    migration.report("up", migration.target)
    eventually(lambda: migration.plugged() == 2, 30, "plugged at the target")

    migration.activate()
    migration.check(source=False, target=True, migration=False)
    assert migration.cloud.status(migration.port) == "ACTIVE"
    migration.report(None, migration.source)
    migration.unbind(migration.source)
    migration.check(source=False, target=True, migration=False)
    migration.cloud.admin.delete("port", migration.port["id"])
    migration.check(source=False, target=False, migration=False)


def test_a_migration_with_the_profile_alone(migration: Migration) -> None:
    migration.announce(migration.target)
    migration.check(target=True, migration=True)
    migration.report("up", migration.target)
    eventually(lambda: migration.plugged() == 2, 30, "plugged at the target")
    migration.api.update(
        "port", migration.port["id"], binding__host_id=migration.target, binding__profile={}
    )
    migration.check(source=False, target=True, migration=False)
    assert migration.cloud.status(migration.port) == "ACTIVE"


@pytest.mark.parametrize("bindings", [True, False])
def test_a_failed_migration_leaves_nothing_and_can_be_repeated_at_once(
    migration: Migration, bindings: bool
) -> None:
    for attempt in range(2):
        before = migration.plugged()
        if bindings:
            migration.bind()
        migration.announce(migration.target)
        migration.check(target=True, migration=True)
        migration.report("up", migration.target)
        eventually(lambda n=before: migration.plugged() > n, 60, f"plugged {attempt}")  # type: ignore[misc]
        port = migration.announce(None)
        assert port["binding:host_id"] == migration.source
        if bindings:
            migration.check(target=True, migration=True)
            migration.unbind(migration.target)
        migration.check(target=False, migration=False)
        assert migration.cloud.status(migration.port) == "ACTIVE"


def test_another_target_takes_the_place_of_the_first(migration: Migration) -> None:
    other = migration.cloud.felix(f"{migration.cloud.host}-c")
    migration.announce(other)
    migration.announce(migration.target)
    migration.check(target=True, migration=True)
    assert migration.cloud.endpoint(migration.port, other) is None
    assert migration.cloud.migration(migration.port, other) is None


@pytest.mark.parametrize("bindings", [True, False])
def test_a_port_that_is_deleted_while_it_migrates(migration: Migration, bindings: bool) -> None:
    if bindings:
        migration.bind()
    else:
        migration.announce(migration.target)
    migration.check(target=True, migration=True)
    migration.cloud.admin.delete("port", migration.port["id"])
    migration.check(source=False, target=False, migration=False)


def test_a_group_that_changes_while_the_port_migrates(migration: Migration) -> None:
    migration.bind()
    group = migration.cloud.member.create("security_group", name="late")
    migration.cloud.member.update("port", migration.port["id"], security_groups=[group["id"]])
    label = f"sg.projectcalico.org/openstack-{group['id']}"
    for host in (migration.source, migration.target):
        endpoint = migration.cloud.endpoint(migration.port, host)
        assert endpoint is not None
        assert label in endpoint["metadata"]["labels"]


def test_a_network_that_goes_down_while_a_port_migrates(migration: Migration) -> None:
    migration.bind()
    network = migration.port["network_id"]
    migration.cloud.member.update("network", network, admin_state_up=False)
    assert migration.cloud.endpoint(migration.port) is None
    assert migration.cloud.endpoint(migration.port, migration.target) is None
    assert migration.cloud.migration(migration.port, migration.target) is None
    migration.cloud.member.update("network", network, admin_state_up=True)
    assert migration.cloud.migration(migration.port, migration.target) is not None


def test_a_port_that_gets_another_device_while_it_migrates(migration: Migration) -> None:
    migration.bind()
    migration.api.update("port", migration.port["id"], device_id=str(uuid.uuid4()))
    migration.check(source=False, target=False, migration=False)

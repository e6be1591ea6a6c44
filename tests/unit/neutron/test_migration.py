"""A migrating port is at both ends, and each step of a migration is visible in order."""

from __future__ import annotations

import dataclasses
import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.codec import encode
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.neutron.translate.endpoint import translate_port
from calico_openstack.neutron.translate.facts import Binding, FixedIp, PortFacts
from calico_openstack.neutron.translate.order import writing_order
from calico_openstack.neutron.translate.places import Places, migration_targets, places
from calico_openstack.neutron.translate.wanted import wanted_endpoints

PORT = PortFacts(
    id="p1",
    network_id="n1",
    mac="fa:16:3e:00:00:01",
    device_owner="compute:nova",
    device_id="vm",
    binding=Binding("a", "tap"),
    fixed_ips=(FixedIp("10.0.0.2", "s1", "10.0.0.1"),),
)
A, B = (f"{host}-openstack-vm-p1" for host in "ab")


def port(active: Binding, *inactive: Binding) -> PortFacts:
    return dataclasses.replace(PORT, binding=active, inactive_bindings=inactive)


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        ((Binding("a", "tap"),), Places("a")),
        ((Binding("a", "unbound"),), Places("a", rebinding=True)),
        ((Binding("a", "tap", "b"),), Places("a", targets=("b",))),
        ((Binding("a", "unbound", "b"),), Places("a", targets=("b",))),
        ((Binding("a", "binding_failed", "b"),), Places("a", targets=("b",))),
        ((Binding("a", "tap"), Binding("b", "tap")), Places("a", targets=("b",))),
        ((Binding("a", "tap", "b"), Binding("b", "tap")), Places("a", targets=("b",))),
        ((Binding("a", "tap", "c"), Binding("b", "tap")), Places("a", targets=("b", "c"))),
        # Nova activates the other binding, and ML2 takes the first one away before.
        ((Binding("a", "unbound", "b"), Binding("b", "tap")), Places("a", targets=("b",))),
        ((Binding("b", "tap"), Binding("a", "unbound", "b")), Places("b")),
        ((Binding("b", "tap"), Binding("a", "binding_failed")), Places("b")),
        ((Binding("a", "tap", "a"),), Places("a")),
        ((Binding("", "unbound", "b"), Binding("b", "tap")), Places()),
    ],
)
def test_where_a_port_is(bindings: tuple[Binding, ...], expected: Places) -> None:
    assert places(port(*bindings)) == expected


def test_a_port_that_is_down_is_nowhere() -> None:
    down = dataclasses.replace(port(Binding("a", "tap", "b")), admin_state_up=False)
    assert places(down) == Places()


def test_both_ends_and_what_connects_them() -> None:
    translated = translate_port(port(Binding("a", "tap", "b")), "openstack")
    assert [endpoint.metadata.name for endpoint in translated.endpoints] == [A, B]
    source, target = (endpoint.spec for endpoint in translated.endpoints)
    assert [source.node, target.node] == ["a", "b"]
    assert msgspec.structs.replace(source, node="b") == target
    (migration,) = translated.migrations
    assert migration.metadata.name == B
    reference = {
        "orchestratorID": "openstack",
        "workloadID": "openstack/vm",
        "endpointID": "p1",
    }
    assert json.loads(encode(migration))["spec"] == {
        "source": {"workloadEndpoint": {"hostname": "a"} | reference},
        "target": {"workloadEndpoint": {"hostname": "b"} | reference},
    }


def path(kind: str, name: str) -> str:
    return ResourceKey(kind, name, "openstack").path


WEP_A, WEP_B = path("WorkloadEndpoint", A), path("WorkloadEndpoint", B)
LM_A, LM_B = path("LiveMigration", A), path("LiveMigration", B)


@pytest.mark.parametrize(
    ("removed", "order"),
    [
        # It begins: the announcement is there before the second endpoint.
        (set(), [[LM_B], [WEP_A, WEP_B]]),
        # It has failed: the second endpoint is never there without the announcement.
        ({LM_B, WEP_B}, [[WEP_A, WEP_B, LM_B]]),
        # It has succeeded: the target's routes count before the source's vanish.
        ({LM_B, WEP_A}, [[WEP_B, LM_B, WEP_A]]),
        # The port is deleted.
        ({LM_B, WEP_A, WEP_B}, [[WEP_B, LM_B, WEP_A]]),
    ],
)
def test_the_order_of_writing(removed: set[str], order: list[list[str]]) -> None:
    for paths in itertools.permutations(itertools.chain(*order)):
        assert writing_order(paths, removed) == order


def test_an_endpoint_is_kept_but_not_made_while_the_port_is_bound_anew() -> None:
    wanted = wanted_endpoints([port(Binding("a", "unbound"))], "openstack")
    assert wanted.content(WEP_A, is_stored=False) is None
    assert wanted.content(WEP_A, is_stored=True) is not None
    assert LM_A in wanted.possible


BINDINGS = st.builds(
    Binding,
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from(["tap", "unbound", "binding_failed"]),
    st.sampled_from(["", "a", "b"]),
)


@given(BINDINGS, st.lists(BINDINGS, max_size=3))
def test_every_target_and_nothing_else_has_a_migration(
    active: Binding, inactive: list[Binding]
) -> None:
    facts = port(active, *inactive)
    targets = migration_targets(active, tuple(inactive))
    assert active.host not in targets
    assert "" not in targets
    wanted = wanted_endpoints([facts], "openstack").contents
    migrations = {key for key in wanted if "/livemigrations/" in key}
    assert migrations == {path("LiveMigration", f"{t}-openstack-vm-p1") for t in targets}
    assert {key.replace("livemigrations", "workloadendpoints") for key in migrations} <= set(wanted)


def test_a_migrating_port_that_goes_down_leaves_no_host() -> None:
    facts = dataclasses.replace(
        port(Binding("a", "tap", "c"), Binding("b", "tap")), network_admin_state_up=False
    )
    wanted = wanted_endpoints([facts], "openstack")
    assert wanted.contents == {}
    names = {key.rpartition("/")[2] for key in wanted.paths}
    assert names == {f"{host}-openstack-vm-p1" for host in "abc"}

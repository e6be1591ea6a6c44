"""Roles of endpoints in migrations, and the states that they go through."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.migration import (
    LiveMigration,
    LiveMigrationSource,
    LiveMigrationSpec,
    LiveMigrationTarget,
    WorkloadEndpointRef,
    WorkloadRef,
)
from calico_openstack.datamodel.policies import Profile, ProfileSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.calc.migration import (
    PRIORITIES,
    TRANSITIONS,
    MigrationInput,
    MigrationRole,
    MigrationRoles,
    MigrationState,
    MigrationStates,
    RoutePriority,
)

HOST = "here"
KEY = ResourceKey("WorkloadEndpoint", "endpoint", "openstack")
CONVERGENCE = 30.0

# --- the state machine ----------------------------------------------------------------------------

STORIES = {
    "as planned": "TARGET ANNOUNCED>LIVE NO_ROLE>TIME_WAIT EXPIRED>BASE",
    "announced more than once": "TARGET ANNOUNCED>LIVE ANNOUNCED>LIVE NO_ROLE>TIME_WAIT",
    "announcement missed": "TARGET NO_ROLE>TIME_WAIT EXPIRED>BASE",
    "announcement late": "TARGET NO_ROLE>TIME_WAIT ANNOUNCED>TIME_WAIT EXPIRED>BASE",
    "the endpoint is there before the migration": "NO_ROLE>BASE TARGET>TARGET ANNOUNCED>LIVE",
    "back at once": "TARGET ANNOUNCED>LIVE NO_ROLE>TIME_WAIT SOURCE>BASE NO_ROLE>BASE",
    "on at once": "TARGET ANNOUNCED>LIVE SOURCE>BASE",
    "and here again": "TARGET NO_ROLE>TIME_WAIT TARGET>TARGET ANNOUNCED>LIVE",
    "turned round before it arrived": "TARGET SOURCE>BASE",
    "the source": "SOURCE>BASE ANNOUNCED>BASE NO_ROLE>BASE",
    "no migration": "NO_ROLE>BASE ANNOUNCED>BASE EXPIRED>BASE",
    "the role is told again": "TARGET TARGET>TARGET ANNOUNCED>LIVE TARGET>LIVE",
    "restart while live": "RESUMED>LIVE TARGET>LIVE NO_ROLE>TIME_WAIT",
    "restart while waiting": "RESUMED>LIVE NO_ROLE>TIME_WAIT EXPIRED>BASE",
    "restart, and it goes elsewhere": "RESUMED>LIVE SOURCE>BASE",
    "restart before it arrived": "TARGET>TARGET ANNOUNCED>LIVE",
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_stories(story: str) -> None:
    state = MigrationState.BASE
    for step in story.split():
        event, _, expected = step.partition(">")
        state = TRANSITIONS[state, MigrationInput[event]]
        assert state.name == (expected or event), step


def test_the_table_is_complete() -> None:
    assert TRANSITIONS.keys() == set(product(MigrationState, MigrationInput))
    assert PRIORITIES.keys() == set(MigrationState)


ROLES = {MigrationInput.NO_ROLE, MigrationInput.SOURCE, MigrationInput.TARGET}


def test_what_is_told_again_changes_nothing() -> None:
    for (_, event), after in TRANSITIONS.items():
        if event is not MigrationInput.RESUMED:
            assert TRANSITIONS[after, event] is after


def test_routes_are_withheld_for_targets_only() -> None:
    for (before, event), after in TRANSITIONS.items():
        if after is MigrationState.TARGET and before is not MigrationState.TARGET:
            assert event is MigrationInput.TARGET
    for event in ROLES - {MigrationInput.TARGET}:
        for state in MigrationState:
            assert PRIORITIES[TRANSITIONS[state, event]] is not RoutePriority.WITHHELD


def test_a_source_keeps_or_gets_its_normal_routes() -> None:
    assert {TRANSITIONS[s, MigrationInput.SOURCE] for s in MigrationState} == {MigrationState.BASE}


steps = st.lists(
    st.tuples(
        st.sampled_from(
            [MigrationRole.NONE, MigrationRole.SOURCE, MigrationRole.TARGET, "heard", "gone"]
        ),
        st.floats(0, 50),
    ),
    max_size=30,
)


def run(states: MigrationStates, history: list[tuple[object, float]]) -> float:
    """Feed a history, each event as many seconds after the one before; return what time it is."""
    now = 0.0
    for event, pause in history:
        now += pause
        states.expire(now)
        if isinstance(event, MigrationRole):
            states.set_role(KEY, event, now)
        elif event == "heard":
            states.announced(KEY, now)
        else:
            states.forget(KEY)
    return now


@given(steps)
def test_without_a_migration_everything_ends_normal(history: list[tuple[object, float]]) -> None:
    states = MigrationStates(CONVERGENCE)
    now = run(states, history)
    states.set_role(KEY, MigrationRole.NONE, now)
    states.expire(now + CONVERGENCE)
    assert states.state(KEY) is MigrationState.BASE
    assert states.next_deadline is None
    assert not states.listening


@given(steps)
def test_what_is_to_be_done_follows_from_the_state(history: list[tuple[object, float]]) -> None:
    states = MigrationStates(CONVERGENCE)
    now = run(states, history)
    state = states.state(KEY)
    assert (KEY in states.listening) == (state is MigrationState.TARGET)
    assert (states.next_deadline is not None) == (state is MigrationState.TIME_WAIT)
    if states.next_deadline is not None:
        assert now < states.next_deadline <= now + CONVERGENCE


@given(steps)
def test_the_changes_tell_the_priority(history: list[tuple[object, float]]) -> None:
    states = MigrationStates(CONVERGENCE)
    told = RoutePriority.NORMAL
    for step in history:
        run(states, [step])
        told = states.take_changes().get(KEY, told)
        assert told is states.priority(KEY)
        assert not states.take_changes()


def test_a_repeated_role_does_not_prolong_the_wait() -> None:
    states = MigrationStates(CONVERGENCE)
    states.set_role(KEY, MigrationRole.TARGET, 0.0)
    states.set_role(KEY, MigrationRole.NONE, 10.0)
    states.set_role(KEY, MigrationRole.NONE, 20.0)
    assert states.next_deadline == 40.0
    states.expire(39.9)
    assert states.priority(KEY) is RoutePriority.ELEVATED
    states.expire(40.0)
    assert states.priority(KEY) is RoutePriority.NORMAL


# --- roles ----------------------------------------------------------------------------------------

MIGRATION = ResourceKey("LiveMigration", "migration", "openstack")
OTHER = ResourceKey("LiveMigration", "other", "openstack")


def reference(host: str, number: int = 1) -> WorkloadEndpointRef:
    return WorkloadEndpointRef(
        hostname=host,
        orchestrator_id="openstack",
        workload_id=f"openstack/vm{number}",
        endpoint_id=f"port{number}",
    )


def migration(
    source: LiveMigrationSource | str = "elsewhere", target: LiveMigrationTarget | str = "there"
) -> LiveMigration:
    """A migration of the first workload, from and to hosts unless said otherwise."""
    if isinstance(source, str):
        source = LiveMigrationSource(workload_endpoint=reference(source))
    if isinstance(target, str):
        target = LiveMigrationTarget(workload_endpoint=reference(target))
    return LiveMigration(
        metadata=Metadata(name="migration", namespace="openstack"),
        spec=LiveMigrationSpec(source=source, target=target),
    )


class Cluster:
    """A host with endpoints, and the roles of those."""

    def __init__(self) -> None:
        self.calculation = HostCalculation(HOST)
        self.roles = MigrationRoles(HOST)

    def put(self, number: int, **labels: str) -> ResourceKey:
        name = workload_endpoint_name(HOST, "openstack", f"vm{number}", f"port{number}")
        spec = WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"vm{number}",
            node=HOST,
            endpoint=f"port{number}",
            interface_name=f"tap{number}",
            ip_networks=(f"10.65.0.{number}/32",),
            profiles=("profile",),
        )
        metadata = Metadata(name=name, namespace="openstack", labels=labels)
        key = ResourceKey("WorkloadEndpoint", name, "openstack")
        self.calculation.update(key, WorkloadEndpoint(metadata=metadata, spec=spec))
        return key

    def flush(self) -> set[ResourceKey]:
        delta = self.calculation.flush()
        state, labels = self.calculation.state, self.calculation.labels_of
        return self.roles.flush(state.endpoints, delta.endpoints, labels)

    def role(self, key: ResourceKey) -> MigrationRole:
        return self.roles.roles.get(key, MigrationRole.NONE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (migration(), MigrationRole.NONE),
        (migration(source=HOST), MigrationRole.SOURCE),
        (migration(target=HOST), MigrationRole.TARGET),
        (migration(source=HOST, target=HOST), MigrationRole.TARGET),
        (
            migration(
                LiveMigrationSource(
                    workload=WorkloadRef(
                        hostname=HOST, orchestrator_id="openstack", workload_id="openstack/vm1"
                    )
                )
            ),
            MigrationRole.SOURCE,
        ),
        (migration(target=LiveMigrationTarget(selector="moves == 'yes'")), MigrationRole.TARGET),
        (
            migration(HOST, LiveMigrationTarget(selector="moves == 'yes'")),
            MigrationRole.TARGET,
        ),
        (migration(target=LiveMigrationTarget(selector="moves == 'no'")), MigrationRole.NONE),
        (
            migration(target=LiveMigrationTarget(workload_endpoint=reference(HOST, 2))),
            MigrationRole.NONE,
        ),
    ],
)
@pytest.mark.parametrize("endpoint_first", [True, False])
def test_roles(value: LiveMigration, expected: MigrationRole, endpoint_first: bool) -> None:
    cluster = Cluster()
    if endpoint_first:
        key = cluster.put(1, moves="yes")
        cluster.flush()
        cluster.roles.update(MIGRATION, value)
    else:
        cluster.roles.update(MIGRATION, value)
        cluster.flush()
        key = cluster.put(1, moves="yes")
    different = cluster.flush()
    assert cluster.role(key) is expected
    assert (key in different) == (expected is not MigrationRole.NONE)
    cluster.roles.update(MIGRATION, None)
    cluster.flush()
    assert cluster.role(key) is MigrationRole.NONE


def test_a_target_comes_before_a_source_of_another_migration() -> None:
    cluster = Cluster()
    key = cluster.put(1)
    cluster.roles.update(MIGRATION, migration(source=HOST))
    cluster.roles.update(OTHER, migration(target=HOST))
    cluster.flush()
    assert cluster.role(key) is MigrationRole.TARGET
    cluster.roles.update(OTHER, None)
    cluster.flush()
    assert cluster.role(key) is MigrationRole.SOURCE


def test_a_selector_is_for_its_own_namespace() -> None:
    cluster = Cluster()
    key = cluster.put(1, moves="yes")
    elsewhere = ResourceKey("LiveMigration", "migration", "somebody")
    everybody = LiveMigrationTarget(selector="all()")
    cluster.roles.update(elsewhere, migration(target=everybody))
    cluster.flush()
    assert cluster.role(key) is MigrationRole.NONE


def test_a_selector_sees_labels_that_profiles_apply() -> None:
    cluster = Cluster()
    key = cluster.put(1)
    cluster.roles.update(MIGRATION, migration(target=LiveMigrationTarget(selector="has(moves)")))
    assert not cluster.flush()
    profile = Profile(
        metadata=Metadata(name="profile"), spec=ProfileSpec(labels_to_apply={"moves": ""})
    )
    cluster.calculation.update(ResourceKey("Profile", "profile"), profile)
    assert cluster.flush() == {key}
    assert cluster.role(key) is MigrationRole.TARGET


def test_a_removed_endpoint_has_no_role() -> None:
    cluster = Cluster()
    key = cluster.put(1)
    cluster.roles.update(MIGRATION, migration(target=HOST))
    cluster.flush()
    cluster.calculation.update(key, None)
    assert cluster.flush() == {key}
    assert not cluster.roles.roles


def test_what_concerns_other_hosts_costs_nothing() -> None:
    cluster = Cluster()
    cluster.put(1)
    cluster.flush()
    cluster.roles.update(MIGRATION, migration())
    assert not cluster.flush()

"""The brake on mass deletions: what it holds, what it lets pass, and when it lets go."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.etcd import Update
from calico_openstack.felix.brake import MOMENT, QUIET, BrakeSettings, MassDeletionBrake

SETTINGS = BrakeSettings(percent=50, longest=1000.0)
# What is left after 60 of 100 are gone.
LEFT = {"WorkloadEndpoint": 40, "NetworkPolicy": 40}
NOTHING: dict[str, int] = {}


def path(number: int, kind: str = "WorkloadEndpoint") -> str:
    return ResourceKey(kind, f"object-{number}", "openstack").path


def deletions(
    numbers: Iterable[int], revision: int = 7, kind: str = "WorkloadEndpoint"
) -> list[Update]:
    return [Update(path(number, kind), None, revision) for number in numbers]


def puts(numbers: Iterable[int], revision: int = 8) -> list[Update]:
    return [Update(path(number), b"{}", revision) for number in numbers]


def test_most_endpoints_at_once_are_held_with_all_of_their_revision() -> None:
    brake = MassDeletionBrake()
    other = Update(ResourceKey("ClusterInformation", "default").path, None, 7)
    late = Update(path(99), None, 8)
    passed = brake.take([*deletions(range(60)), other, late], LEFT, SETTINGS, 0.0)
    assert list(passed) == [late]
    assert brake.held == 61
    assert not brake.release(LEFT, SETTINGS, QUIET + 1)


def test_policies_count_too() -> None:
    brake = MassDeletionBrake()
    assert not brake.take(deletions(range(60), kind="NetworkPolicy"), LEFT, SETTINGS, 0.0)


def test_ordinary_deletions_pass() -> None:
    brake = MassDeletionBrake()
    ordinary = deletions(range(50))
    assert brake.take(ordinary, {"WorkloadEndpoint": 50}, SETTINGS, 0.0) == ordinary
    # One by one, however many.
    singly = [Update(path(number), None, number) for number in range(100)]
    assert brake.take(singly, LEFT, SETTINGS, 0.0) == singly
    assert brake.held == 0


def test_small_clouds_are_emptied() -> None:
    brake = MassDeletionBrake()
    all_of_it = deletions(range(19))
    assert brake.take(all_of_it, NOTHING, SETTINGS, 0.0) == all_of_it


def test_switched_off_nothing_is_held() -> None:
    brake = MassDeletionBrake()
    everything = deletions(range(100))
    assert brake.take(everything, LEFT, BrakeSettings(percent=0), 0.0) == everything


def test_what_is_stored_again_is_held_no_longer_and_the_rest_goes() -> None:
    brake = MassDeletionBrake()
    brake.take(deletions(range(100)), NOTHING, SETTINGS, 0.0)
    again = puts(range(95))
    assert brake.take(again, LEFT, SETTINGS, 50.0) == again
    assert brake.held == 5
    # The driver may be on its way still.
    assert not brake.release(LEFT, SETTINGS, 50.0 + QUIET - 1)
    rest = brake.release({"WorkloadEndpoint": 95}, SETTINGS, 50.0 + QUIET)
    assert [update.key for update in rest] == [path(number) for number in range(95, 100)]
    assert brake.held == 0


def test_replaced_in_the_same_batch_is_not_held() -> None:
    brake = MassDeletionBrake()
    again = puts(range(60))
    assert list(brake.take([*deletions(range(60)), *again], LEFT, SETTINGS, 0.0)) == again
    assert brake.held == 0


def test_deleted_behind_a_change_in_the_same_batch() -> None:
    brake = MassDeletionBrake()
    updates = [*puts([1]), *deletions([1], revision=9)]
    assert brake.take(updates, LEFT, SETTINGS, 0.0) == updates


KINDS = ("WorkloadEndpoint", "NetworkPolicy", "Tier")
events = st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.booleans())


@given(st.lists(st.tuples(st.lists(events, max_size=6), st.booleans()), max_size=8))
def test_what_is_acted_upon_ends_as_what_etcd_has(
    history: list[tuple[list[tuple[str, int, bool]], bool]],
) -> None:
    brake = MassDeletionBrake()
    stored: dict[str, bytes] = {}
    known: dict[str, bytes] = {}

    def act(updates: Iterable[Update]) -> None:
        for update in updates:
            known.pop(update.key, None)
            if update.value is not None:
                known[update.key] = update.value

    for revision, (batch, is_mistake) in enumerate(history):
        updates = []
        for number, (kind, of, put) in enumerate(batch):
            key, value = path(of, kind), b"%d %d" % (revision, number)
            if put:
                stored[key] = value
                updates.append(Update(key, value, revision))
            elif stored.pop(key, None):
                updates.append(Update(key, None, revision))
        if is_mistake:
            updates += deletions(range(100, 200), revision)
        now = revision * MOMENT
        act(brake.take(updates, NOTHING, SETTINGS, now))
        act(brake.release(NOTHING, SETTINGS, now))
    end = len(history) * MOMENT
    act(brake.release(NOTHING, SETTINGS, end))
    act(brake.release(NOTHING, SETTINGS, end + SETTINGS.longest))
    assert known == stored
    assert not brake.waiting


def test_it_lets_go_in_the_end_or_when_switched_off() -> None:
    brake = MassDeletionBrake()
    brake.take(deletions(range(100)), NOTHING, SETTINGS, 0.0)
    assert not brake.release(LEFT, SETTINGS, 999.0)
    assert len(brake.release(LEFT, SETTINGS, 1000.0)) == 100
    brake.take(deletions(range(100)), NOTHING, SETTINGS, 2000.0)
    assert not brake.release(LEFT, BrakeSettings(longest=0.0), 1e9)
    assert len(brake.release(LEFT, BrakeSettings(percent=0), 2001.0)) == 100


CLUSTER = ResourceKey("ClusterInformation", "default").path


def test_what_many_depend_on_goes_a_moment_later() -> None:
    brake = MassDeletionBrake()
    gone = Update(CLUSTER, None, 7)
    assert not brake.take([gone], LEFT, SETTINGS, 0.0)
    assert not brake.release(LEFT, SETTINGS, MOMENT / 2)
    assert list(brake.release(LEFT, SETTINGS, MOMENT)) == [gone]
    assert not brake.waiting


def test_what_comes_back_in_that_moment_was_never_gone() -> None:
    brake = MassDeletionBrake()
    brake.take([Update(CLUSTER, None, 7)], LEFT, SETTINGS, 0.0)
    again = [Update(CLUSTER, b"{}", 8)]
    assert brake.take(again, LEFT, SETTINGS, 0.1) == again
    assert not brake.waiting


def test_a_revision_is_held_as_a_whole_though_it_is_told_in_parts() -> None:
    brake = MassDeletionBrake()
    brake.take([Update(CLUSTER, None, 7)], LEFT, SETTINGS, 0.0)
    brake.take(deletions(range(100)), NOTHING, SETTINGS, 0.1)
    assert not brake.take([Update(path(200, "Profile"), None, 7)], LEFT, SETTINGS, 0.2)
    assert not brake.release(LEFT, SETTINGS, MOMENT)
    assert brake.held == 102

"""DeltaTracker: incremental bookkeeping equals the difference computed from scratch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.delta import DeltaTracker

KEYS = st.integers(0, 5)
VALUES = st.integers(0, 2)
MAPS = st.dictionaries(KEYS, VALUES)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["set_desired", "set_actual"]), KEYS, VALUES),
        st.tuples(st.sampled_from(["delete_desired", "delete_actual"]), KEYS),
        st.tuples(st.sampled_from(["replace_desired", "replace_actual"]), MAPS),
    )
)


@given(STEPS)
def test_difference_equals_the_one_from_scratch(steps: list[tuple[object, ...]]) -> None:
    tracker: DeltaTracker[int, int] = DeltaTracker()
    for name, *arguments in steps:
        getattr(tracker, str(name))(*arguments)
        desired, actual = dict(tracker.desired), dict(tracker.actual)
        assert dict(tracker.pending_updates) == {
            k: v for k, v in desired.items() if k not in actual or actual[k] != v
        }
        assert set(tracker.pending_deletions) == set(actual) - set(desired)
        assert tracker.in_sync == (desired == actual)


@given(MAPS, MAPS)
def test_applying_the_difference_brings_it_in_sync(
    desired: dict[int, int], actual: dict[int, int]
) -> None:
    tracker: DeltaTracker[int, int] = DeltaTracker()
    tracker.replace_desired(desired)
    tracker.replace_actual(actual)
    for key in list(tracker.pending_deletions):
        tracker.delete_actual(key)
    for key, value in list(tracker.pending_updates.items()):
        tracker.set_actual(key, value)
    assert tracker.in_sync
    assert tracker.actual == desired


def test_views_are_live_and_read_only() -> None:
    tracker: DeltaTracker[str, int] = DeltaTracker()
    updates = tracker.pending_updates
    tracker.set_desired("a", 1)
    assert updates == {"a": 1}
    assert "a" in updates
    tracker.replace_desired({"b": 2})
    assert updates == {"b": 2}
    assert not hasattr(updates, "__setitem__")

"""StatusQueue: etcd ends up with what is wanted, and readers see every interruption."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.status_queue import StatusQueue

KEYS = st.sampled_from(["a", "b", "c"])
STATUSES = st.sampled_from(["up", "down"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), KEYS, st.one_of(STATUSES, st.none())),
        st.tuples(st.just("write"), st.integers(1, 3)),
        st.tuples(st.just("resync"), st.dictionaries(KEYS, STATUSES)),
    )
)


def write(queue: StatusQueue, store: dict[str, str], limit: int) -> int:
    batch = queue.next_batch(limit)
    assert len(batch) <= limit
    assert len({key for key, _ in batch}) == len(batch)
    for key, status in batch:
        if status is None:
            store.pop(key, None)
        else:
            store[key] = status
    queue.written(batch)
    return len(batch)


@given(STEPS)
def test_store_becomes_what_is_wanted(steps: list[tuple[object, ...]]) -> None:
    queue, store, wanted = StatusQueue(), dict[str, str](), dict[str, str]()
    for step in steps:
        match step:
            case ("want", str(key), status):
                queue.want(key, status)  # type: ignore[arg-type]
                if status is None:
                    wanted.pop(key, None)
                else:
                    wanted[key] = str(status)
            case ("write", int(limit)):
                write(queue, store, limit)
            case ("resync", dict(other)):
                store = dict(other)
                queue.resync(store)
    for _ in range(20):
        write(queue, store, 2)
    assert store == wanted
    assert len(queue) == 0
    assert queue.next_batch(10) == []


def test_interruption_that_ended_before_it_was_written_is_still_written() -> None:
    queue = StatusQueue()
    queue.resync({"a": "up"})
    queue.want("a", "up")
    assert queue.next_batch(10) == []
    queue.want("a", "down")
    queue.want("a", "up")
    first = queue.next_batch(10)
    assert first == [("a", "down")]
    queue.written(first)
    assert queue.next_batch(10) == [("a", "up")]


def test_many_interruptions_are_told_as_one() -> None:
    queue = StatusQueue()
    queue.resync({"a": "up"})
    queue.want("a", "up")
    for status in ("down", "up") * 10:
        queue.want("a", status)
    assert len(queue) == 1


def test_change_during_a_write_is_not_lost() -> None:
    queue = StatusQueue()
    queue.want("a", "down")
    batch = queue.next_batch(10)
    queue.want("a", "up")
    queue.written(batch)
    assert queue.next_batch(10) == [("a", "up")]


def test_resync_brings_back_what_vanished_and_removes_what_is_superfluous() -> None:
    queue = StatusQueue()
    queue.want("a", "up")
    queue.resync({"b": "up", "a": "up"})
    assert queue.next_batch(10) == [("b", None)]
    queue.resync({})
    assert queue.next_batch(10) == [("a", "up")]

"""Replica: what it says, applied to a dictionary, gives the store's content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.etcd.records import range_end, to_bytes, to_text
from calico_openstack.etcd.replica import Replica, Update

KEYS = st.sampled_from(["/p/a", "/p/b", "/p/c"])
WRITES = st.lists(st.tuples(KEYS, st.one_of(st.none(), st.binary(max_size=1))))
ROUNDS = st.lists(st.tuples(WRITES, st.sampled_from(["watch", "list", "break off", "restore"])))


class Store:
    """A key-value store with revisions, as simple as can be."""

    def __init__(self) -> None:
        self.revision = 1
        self.content: dict[str, tuple[str, bytes, int]] = {}

    def write(self, key: str, value: bytes | None) -> tuple[str, bytes | None, int]:
        self.revision += 1
        if value is None:
            self.content.pop(key, None)
        else:
            self.content[key] = key, value, self.revision
        return key, value, self.revision

    def restart(self) -> None:
        """Begin to count anew, as a cluster does that was filled from an export."""
        self.revision = 1
        self.content = {key: (key, value, 1) for key, value, _ in self.content.values()}


def follow(view: dict[str, bytes], updates: list[Update]) -> None:
    for update in updates:
        if update.value is None:
            del view[update.key]  # never said of a key that was not delivered
        else:
            view[update.key] = update.value


@given(ROUNDS)
def test_view_equals_store_after_every_round(
    rounds: list[tuple[list[tuple[str, bytes | None]], str]],
) -> None:
    store, replica, view = Store(), Replica("/p/"), dict[str, bytes]()
    for writes, how in rounds:
        if how == "restore":
            store.restart()
            replica.distrust()
        events = [store.write(key, value) for key, value in writes]
        if how == "watch":
            for event in events:
                update = replica.changed(*event)
                follow(view, [update] if update else [])
                assert replica.changed(*event) is None, "an event that is repeated says nothing"
        else:
            replica.begin_listing()
            listing = list(store.content.values())
            follow(view, replica.listed(listing[:1]))
            if how == "break off":
                replica.begin_listing()
                follow(view, replica.listed(listing[:1]))
            follow(view, replica.listed(listing[1:]))
            follow(view, replica.end_listing(store.revision))
        assert view == {key: value for key, value, _ in store.content.values()}
        assert len(replica) == len(view)


def test_unchanged_keys_are_not_listed_again() -> None:
    replica = Replica("/p/")
    listing = [("/p/a", b"1", 5), ("/p/b", b"1", 6)]
    for expected in (2, 0):
        replica.begin_listing()
        assert len(replica.listed(listing)) == expected
        assert replica.end_listing(7) == []


@given(st.binary(min_size=1, max_size=4), st.binary(max_size=6))
def test_range_end_bounds_exactly_the_prefix(prefix: bytes, key: bytes) -> None:
    end = range_end(to_text(prefix))
    inside = prefix <= key and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@given(st.binary())
def test_keys_of_any_bytes_survive(key: bytes) -> None:
    assert to_bytes(to_text(key)) == key

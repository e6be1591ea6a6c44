"""A change is recorded if and only if it is committed, and its record lives until it is settled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from calico_openstack.etcd import EtcdUnavailable
from calico_openstack.neutron import records as records_module
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.models import DirtyObject
from calico_openstack.neutron.records import Records, oldest_records
from calico_openstack.neutron.sync import Done, Outcome

PORT = Change(Kind.PORT, "p1")
GROUP = Change(Kind.GROUP, "g1")


@pytest.fixture
def engine(tmp_path: Any) -> Iterator[Any]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/db")
    DirtyObject.__table__.create(engine)
    yield engine
    engine.dispose()


class Etcd:
    """What the consequences of changes do: keep them, or fail; ``bad`` ones always fail.

    A synchroniser too, which writes what is recorded by others together with what it is given.
    """

    client = property(lambda self: self)

    def __init__(self) -> None:
        self.applied: list[Change] = []
        self.bad: set[Change] = set()
        self.failure: Exception | None = None
        self.certain = True

    def settle(self, records: Records, *, alone: bool = False) -> Done | None:
        together = records if alone else oldest_records(100)
        if self.failure is not None:
            raise self.failure
        if self.bad.intersection(together.values()):
            raise ValueError("too strange")
        self.applied += together.values()
        if not self.certain:
            return None
        outcomes = {str(change): Outcome.CREATED for change in together.values()}
        return Done(outcomes, set(together))

    def status(self) -> None:
        pass


@pytest.fixture
def etcd(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Etcd:
    @contextmanager
    def transaction() -> Iterator[Any]:
        with orm.Session(engine) as session, session.begin():
            yield session

    monkeypatch.setattr(records_module, "reader", transaction)
    monkeypatch.setattr(records_module, "writer", transaction)
    return Etcd()


@pytest.fixture
def journal(etcd: Etcd) -> Journal:
    return Journal(lambda: etcd)  # type: ignore[arg-type, return-value]


def recorded() -> list[Change]:
    return sorted(oldest_records(100).values())


def commit(engine: Any, journal: Journal, *changes: Change, times: int = 1) -> None:
    with orm.Session(engine) as session, session.begin():
        session.execute(sa.text("SELECT 1"))
        for _ in range(times):
            journal.record(session, changes)


def test_what_is_settled_leaves_no_record(engine: Any, etcd: Etcd, journal: Journal) -> None:
    commit(engine, journal, PORT, GROUP, times=3)
    assert sorted(etcd.applied) == sorted([GROUP, PORT])
    assert recorded() == []


@pytest.mark.parametrize("failure", [EtcdUnavailable("gone"), RuntimeError("anything")])
def test_what_fails_is_made_up_for_later(
    engine: Any, etcd: Etcd, journal: Journal, failure: Exception
) -> None:
    etcd.failure = failure
    commit(engine, journal, PORT, GROUP)
    assert recorded() == sorted([GROUP, PORT])
    assert not journal.settle_all(-1, lambda: False)
    etcd.failure = None
    assert journal.settle_all(-1, lambda: False)
    assert recorded() == []
    assert sorted(etcd.applied) == sorted([GROUP, PORT])


def test_what_is_contested_stays(engine: Any, etcd: Etcd, journal: Journal) -> None:
    etcd.certain = False
    commit(engine, journal, PORT)
    assert recorded() == [PORT]


def test_what_is_rolled_back_never_happened(engine: Any, etcd: Etcd, journal: Journal) -> None:
    with orm.Session(engine) as session:
        session.execute(sa.text("SELECT 1"))
        journal.record(session, {PORT})
        session.rollback()
        assert etcd.applied == []
        assert recorded() == []
        # The session goes on, as when Neutron repeats a request after a deadlock.
        session.execute(sa.text("SELECT 1"))
        journal.record(session, {PORT})
        session.commit()
    assert etcd.applied == [PORT]


def test_young_records_are_left_to_their_requests(
    engine: Any, etcd: Etcd, journal: Journal
) -> None:
    etcd.failure = EtcdUnavailable("gone")
    commit(engine, journal, PORT)
    etcd.failure = None
    assert journal.settle_all(60.0, lambda: False)
    assert recorded() == [PORT]


def test_somebody_else_settles_what_was_only_recorded(
    engine: Any, etcd: Etcd, journal: Journal
) -> None:
    for _ in range(2):
        with orm.Session(engine) as session, session.begin():
            journal.record(session, {PORT}, settle=False)
    assert recorded() == [PORT, PORT]
    assert journal.settle_recorded(PORT)
    assert recorded() == []


def test_what_others_have_recorded_is_written_together(
    engine: Any, etcd: Etcd, journal: Journal
) -> None:
    etcd.failure = EtcdUnavailable("gone")
    commit(engine, journal, PORT)
    etcd.failure = None
    commit(engine, journal, GROUP)
    assert recorded() == []
    assert sorted(etcd.applied) == sorted([GROUP, PORT])


def test_a_strange_object_does_not_stand_in_the_others_way(
    engine: Any, etcd: Etcd, journal: Journal
) -> None:
    etcd.bad = {PORT}
    commit(engine, journal, PORT, GROUP)
    assert recorded() == sorted([GROUP, PORT])
    assert not journal.settle_all(-1, lambda: False)
    assert recorded() == [PORT]
    assert etcd.applied == [GROUP]
    # Nor in the way of later requests.
    other = Change(Kind.GROUP, "g2")
    commit(engine, journal, other)
    assert recorded() == [PORT]
    assert etcd.applied == [GROUP, other]


def test_kinds_of_a_newer_release_are_left_to_it(engine: Any, etcd: Etcd, journal: Journal) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO calico_dirty_objects (id, kind, object_id, created_at) "
                "VALUES ('1', 'from-the-future', 'x', '2020-01-01 00:00:00')"
            )
        )
    assert journal.settle_all(-1, lambda: False)
    assert recorded() == []


def test_what_the_latest_changes_have_created_is_known_until_the_next_ones(
    engine: Any, etcd: Etcd, journal: Journal
) -> None:
    commit(engine, journal, PORT)
    assert journal.has_created(str(PORT))
    assert not journal.has_created(str(GROUP))
    assert not journal.has_created(None)
    with orm.Session(engine) as session, session.begin():
        session.execute(sa.text("SELECT 1"))
        journal.record(session, {GROUP})
        # Who asks before the commit asks too early, and is told nothing of earlier changes.
        assert not journal.has_created(str(PORT))
        assert not journal.has_created(str(GROUP))
    assert journal.has_created(str(GROUP))
    etcd.failure = EtcdUnavailable("gone")
    commit(engine, journal, PORT)
    assert not journal.has_created(str(PORT))
    assert not journal.has_created(str(GROUP))

"""Remembers in Neutron's database what must be written to etcd, until it is.

A change is recorded in the transaction that makes it: either both are there or none. After the
commit, and still within the request, its consequences are written to etcd and the record is
removed. Whatever prevents that (the process dies, etcd or the database does not answer, others
keep writing the same key) leaves the record, and a worker makes up for it. The request succeeds
in any case, because the database is the truth; until the worker has succeeded a new port does
not become ACTIVE, since nothing was programmed for it, which Nova and users see.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from neutron_lib.db import api as db_api
from oslo_db import exception as db_exception
from oslo_log import log
from oslo_utils import timeutils

from calico_openstack.etcd import EtcdError
from calico_openstack.neutron.changes import Change, Kind, apply_changes
from calico_openstack.neutron.models import DirtyObject
from calico_openstack.neutron.queries import portions, reader, writer
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.transaction import after_commit

LOG = log.getLogger(__name__)

Records = dict[str, Change]
"""Changes by the ids of their rows."""

_RECORDED = "calico_recorded_changes"
_AT_ONCE = 200


class Journal:
    """Records changes and settles them; ``synchroniser`` is asked for when it is needed."""

    def __init__(self, synchroniser: Callable[[], Synchroniser]) -> None:
        self._synchroniser = synchroniser

    def record(self, session: Any, changes: Iterable[Change], *, settle: bool = True) -> None:
        """Record changes in the transaction of ``session``, and settle them after its commit.

        Without ``settle`` somebody else settles them, at the latest the worker. Does not flush
        the session, and may be called while that is being done.
        """
        recorded: Records = session.info.setdefault(_RECORDED, {})
        new = sorted(set(changes).difference(recorded.values()))
        if not new:
            return
        records = {str(uuid.uuid4()): change for change in new}
        now = timeutils.utcnow()
        values = [
            {"id": row_id, "kind": change.kind, "object_id": change.id, "created_at": now}
            for row_id, change in records.items()
        ]
        try:
            session.connection().execute(sa.insert(DirtyObject), values)
        except db_exception.DBNonExistentTable:
            LOG.error(
                "Neutron's database lacks the driver's table: run neutron-db-manage --subproject "
                "calico-openstack upgrade heads"
            )
            raise
        if not settle:
            return
        if not recorded:
            after_commit(session, lambda: self._committed(session), recorded.clear)
        recorded.update(records)

    def settle(self, records: Records) -> bool:
        """Write the consequences of changes to etcd and remove their records, if possible."""
        if not records:
            return True
        subject = ", ".join(str(change) for change in list(records.values())[:3])
        try:
            if not apply_changes(self._synchroniser(), records.values()):
                return False
            forget(records)
        except EtcdError as error:
            LOG.error("etcd does not yet have %s and what goes with it: %s", subject, error)
        except Exception:
            # The transaction is committed: whatever goes wrong here must not make the request
            # fail or be repeated. The records are there for the worker.
            LOG.exception("etcd does not yet have %s and what goes with it", subject)
        else:
            return True
        return False

    def settle_recorded(self, change: Change) -> bool:
        """Settle every record of a change that is there now."""
        return self.settle(records_of(change))

    def settle_all(self, min_age: float, stopping: Callable[[], bool]) -> bool:
        """Settle the records that are older than ``min_age`` seconds; return whether all were."""
        while not stopping():
            records = old_records(min_age, _AT_ONCE)
            if not records:
                return True
            LOG.info("Writing %d changes to etcd that requests have left", len(records))
            if not self.settle(records):
                self._settle_singly(records, stopping)
                return False
        return False

    def _settle_singly(self, records: Records, stopping: Callable[[], bool]) -> None:
        """Settle records one by one: a single object must not stand in the others' way."""
        try:
            self._synchroniser().client.status()
        except EtcdError:
            return
        for row_id, change in records.items():
            if stopping():
                return
            self.settle({row_id: change})

    def _committed(self, session: Any) -> None:
        records: Records = session.info.pop(_RECORDED, {})
        self.settle(records)


@db_api.retry_db_errors
def records_of(change: Change) -> Records:
    """Return the records of a change."""
    statement = sa.select(DirtyObject.id).where(
        DirtyObject.kind == change.kind, DirtyObject.object_id == change.id
    )
    with reader() as session:
        return dict.fromkeys(session.scalars(statement), change)


@db_api.retry_db_errors
def old_records(min_age: float, limit: int) -> Records:
    """Return the oldest records, of those that are older than ``min_age`` seconds.

    Kinds that are unknown here are left to servers of a newer release.
    """
    before = timeutils.utcnow() - timedelta(seconds=min_age)
    statement = (
        sa.select(DirtyObject.id, DirtyObject.kind, DirtyObject.object_id)
        .where(
            DirtyObject.created_at <= before, DirtyObject.kind.in_([kind.value for kind in Kind])
        )
        .order_by(DirtyObject.created_at)
        .limit(limit)
    )
    with reader() as session:
        return {row[0]: Change(Kind(row[1]), row[2]) for row in session.execute(statement)}


@db_api.retry_db_errors
def count_records() -> int:
    """Return the number of records."""
    with reader() as session:
        return int(session.scalar(sa.select(sa.func.count()).select_from(DirtyObject)))


@db_api.retry_db_errors
def forget(row_ids: Collection[str]) -> None:
    """Remove records."""
    with writer() as session:
        for some in portions(row_ids):
            session.execute(
                sa.delete(DirtyObject)
                .where(DirtyObject.id.in_(some))
                .execution_options(synchronize_session=False)
            )

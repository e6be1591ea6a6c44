"""Remembers in Neutron's database what must be written to etcd, until it is.

A change is recorded in the transaction that makes it: either both are there or none. After the
commit, and still within the request, its consequences are written to etcd and the record is
removed. Whatever prevents that (the process dies, etcd or the database does not answer, others
keep writing the same key) leaves the record, and a worker makes up for it. The request succeeds
in any case, because the database is the truth; until the worker has succeeded a new port does
not become ACTIVE, since nothing was programmed for it, which Nova and users see.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oslo_db import exception as db_exception
from oslo_log import log
from oslo_utils import timeutils

from calico_openstack.etcd import EtcdAuthError, EtcdError, EtcdUnavailable
from calico_openstack.neutron.changes import Change
from calico_openstack.neutron.records import INSERTION, Records, forget, oldest_records, records_of
from calico_openstack.neutron.sync import WAITING_AT_ONCE, Done, Outcome, Synchroniser
from calico_openstack.neutron.transaction import after_commit

LOG = log.getLogger(__name__)

_RECORDED = "calico_recorded_changes"


class _Latest(threading.local):
    """What became of keys when this thread settled its latest changes; nothing before that."""

    outcomes: Mapping[str, Outcome] = {}


class Journal:
    """Records changes and settles them; ``synchroniser`` is asked for when it is needed."""

    def __init__(self, synchroniser: Callable[[], Synchroniser]) -> None:
        self._synchroniser = synchroniser
        self._latest = _Latest()

    def record(self, session: Any, changes: Iterable[Change], *, settle: bool = True) -> None:
        """Record changes in the transaction of ``session``, and settle them after its commit.

        Without ``settle`` somebody else settles them, at the latest the worker. Does not flush
        the session, and may be called while that is being done.
        """
        self._latest.outcomes = {}
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
            session.connection().execute(INSERTION, values)
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

    def settle(self, records: Records, *, alone: bool = False) -> bool:
        """Write the consequences of changes to etcd and remove their records, if possible.

        Those of all other changes that are recorded are written together with them (see `sync`),
        unless these are to be written ``alone``.
        """
        if not records:
            return True
        subject = ", ".join(str(change) for change in list(records.values())[:3])
        try:
            done = self._write(records, alone=alone)
            if done is None:
                return False
            if done.records:
                forget(done.records)
            self._latest.outcomes = done.outcomes
        except EtcdError as error:
            LOG.error("etcd does not yet have %s and what goes with it: %s", subject, error)
        except Exception:
            # The transaction is committed: whatever goes wrong here must not make the request
            # fail or be repeated. The records are there for the worker.
            LOG.exception("etcd does not yet have %s and what goes with it", subject)
        else:
            return True
        return False

    def _write(self, records: Records, *, alone: bool) -> Done | None:
        """Write what changes are about, if possible; return what is done."""
        synchroniser = self._synchroniser()
        try:
            return synchroniser.settle(records, alone=alone)
        except (EtcdUnavailable, EtcdAuthError):
            raise
        except Exception:
            if alone:
                raise
            # What somebody else has recorded may be too strange, and must not stand in the way.
            LOG.exception("Changes cannot be written together")
            return synchroniser.settle(records, alone=True)

    def has_created(self, path: str | None) -> bool:
        """Tell whether it was this thread's latest changes by which a key came to be.

        It is not while they wait for their commit, nor when others have written their consequences.
        """
        return self._latest.outcomes.get(path or "") is Outcome.CREATED

    def settle_recorded(self, change: Change) -> bool:
        """Settle every record of a change that is there now."""
        return self.settle(records_of(change))

    def settle_all(self, min_age: float, stopping: Callable[[], bool]) -> bool:
        """Settle the records that are older than ``min_age`` seconds; return whether all were."""
        while not stopping():
            records = oldest_records(WAITING_AT_ONCE, min_age=min_age)
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

"""The rows of the driver's table: which changes may not be in etcd yet."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import sqlalchemy as sa
from neutron_lib.db import api as db_api
from oslo_utils import timeutils

from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.models import DirtyObject
from calico_openstack.neutron.queries import portions, reader, retried, writer

Records = dict[str, Change]
"""Changes by the ids of their rows."""

# Kinds that are unknown here are left to servers of a newer release.
_KNOWN = DirtyObject.kind.in_([kind.value for kind in Kind])


_OLDEST = (
    sa.select(DirtyObject.id, DirtyObject.kind, DirtyObject.object_id)
    .where(_KNOWN)
    .order_by(DirtyObject.created_at, DirtyObject.id)
    .limit(sa.bindparam("most"))
)

_TABLE = DirtyObject.__table__
INSERTION = sa.insert(_TABLE)
_REMOVAL = sa.delete(_TABLE).where(_TABLE.c.id.in_(sa.bindparam("ids", expanding=True)))


@retried
def oldest_records(limit: int, *, min_age: float | None = None) -> Records:
    """Return the oldest records; of those that are older than ``min_age`` seconds, if given."""
    statement = _OLDEST
    if min_age is not None:
        before = timeutils.utcnow() - timedelta(seconds=min_age)
        statement = statement.where(DirtyObject.created_at <= before)
    with reader() as connection:
        found = connection.execute(statement, {"most": limit})
        return {row[0]: Change(Kind(row[1]), row[2]) for row in found}


@retried
def records_of(change: Change) -> Records:
    """Return the records of a change."""
    statement = sa.select(DirtyObject.id).where(
        DirtyObject.kind == change.kind, DirtyObject.object_id == change.id
    )
    with reader() as connection:
        return dict.fromkeys(connection.scalars(statement), change)


@retried
def count_records() -> int:
    """Return the number of records."""
    with reader() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(DirtyObject)))


@db_api.retry_db_errors
def forget(row_ids: Collection[str]) -> None:
    """Remove records."""
    with writer() as connection:
        for some in portions(row_ids):
            connection.execute(_REMOVAL, {"ids": some})

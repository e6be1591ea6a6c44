"""The driver's table in Neutron's database."""

from __future__ import annotations

import sqlalchemy as sa
from neutron_lib.db import model_base


class DirtyObject(model_base.BASEV2):
    """An object whose keys in etcd may differ from the database; see `journal`.

    Rows are only ever added and removed, each by its random ``id``: two transactions never wait
    for each other. ``kind`` and ``object_id`` are those of a `Change`; ``created_at`` is in UTC.
    """

    __tablename__ = "calico_dirty_objects"

    id = sa.Column(sa.String(36), primary_key=True)
    kind = sa.Column(sa.String(16), nullable=False)
    object_id = sa.Column(sa.String(1024), nullable=False)
    created_at = sa.Column(sa.DateTime(), nullable=False)

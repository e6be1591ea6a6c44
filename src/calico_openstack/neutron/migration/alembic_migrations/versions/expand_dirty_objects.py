"""Add the table of objects whose keys in etcd may differ from the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "9be3a4d20c58"
down_revision = "start_calico"
branch_labels = ("expand",)


def upgrade() -> None:
    """Create ``calico_dirty_objects``."""
    op.create_table(
        "calico_dirty_objects",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("object_id", sa.String(1024), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        mysql_engine="InnoDB",
    )

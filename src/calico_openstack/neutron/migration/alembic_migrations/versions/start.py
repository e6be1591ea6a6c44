"""The point from which both branches start."""

from __future__ import annotations

revision = "start_calico"
down_revision = None


def upgrade() -> None:
    """Nothing."""

"""The contract branch begins."""

from __future__ import annotations

revision = "5d1c6f0a7b21"
down_revision = "start_calico"
branch_labels = ("contract",)


def upgrade() -> None:
    """Nothing."""

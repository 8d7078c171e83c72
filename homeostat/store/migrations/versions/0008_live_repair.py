"""Repairs of incidents: who works on one, what it was charged to, and what was seen after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0008_live_repair"
down_revision = "0007_incident_indexes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for column in (
        sa.Column("holder", sa.String(length=128), nullable=False, server_default=""),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("seen_key", sa.String(length=64), nullable=False, server_default=""),
        sa.Column("attempt_id", sa.String(length=36), nullable=False, server_default=""),
        sa.Column("approval_id", sa.String(length=36), nullable=False, server_default=""),
        sa.Column("applied_at", UtcDateTime(), nullable=True),
        sa.Column("watch", JSON, nullable=False, server_default="{}"),
    ):
        op.add_column("repairs", column)
    op.create_index("ix_repairs_seen_key", "repairs", ["seen_key", "created_at"])


def downgrade() -> None:
    """Drop the columns."""
    op.drop_index("ix_repairs_seen_key", "repairs")
    with op.batch_alter_table("repairs") as table:
        for name in (
            "watch", "applied_at", "approval_id", "attempt_id", "seen_key", "lease_until", "holder",
        ):  # fmt: skip
            table.drop_column(name)

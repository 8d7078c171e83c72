"""Maintenance windows are incidents' mutes; nobody could open those of the health monitor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import UtcDateTime

revision = "0014_one_kind_of_window"
down_revision = "0013_lease_without_work"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("maintenance_windows")


def downgrade() -> None:
    """Make the table."""
    op.create_table(
        "maintenance_windows",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("components", sa.String(length=128), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_maintenance_windows"),
    )

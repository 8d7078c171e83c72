"""The beat's lock and the timetable in force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime
from homeostat.store.beat import LOCK

revision = "0001b_beat"
down_revision = "0001_core"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the lock's one row."""
    op.create_table(
        "beat_lock",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("sent_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_beat_lock")),
    )
    op.create_table(
        "beat_entries",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("interval_s", sa.Float(), nullable=False),
        sa.Column("declared_s", sa.Float(), nullable=False),
        sa.Column("kwargs", JSON, nullable=False),
        sa.Column("catch_up", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_beat_entries")),
    )
    op.execute(f"INSERT INTO beat_lock (name, holder, token) VALUES ('{LOCK}', '', 0)")


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("beat_entries")
    op.drop_table("beat_lock")

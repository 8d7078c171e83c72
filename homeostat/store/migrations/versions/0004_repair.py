"""Repairs, and the fixes that are known from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0004_repair"
down_revision = "0003_trading"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "repairs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("claim", sa.String(length=128), nullable=True),
        sa.Column("incident_id", sa.String(length=36), nullable=False),
        sa.Column("repository", sa.String(), nullable=False),
        sa.Column("command", sa.String(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("group_key", sa.String(length=64), nullable=False),
        sa.Column("replay_key", sa.String(length=64), nullable=False),
        sa.Column("outcome", JSON, nullable=False),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("preimages", JSON, nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=False),
        sa.Column("story", JSON, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repairs")),
        sa.UniqueConstraint("claim", name="uq_repairs_claim"),
    )
    op.create_index(op.f("ix_repairs_incident_id"), "repairs", ["incident_id"], unique=False)
    op.create_index("ix_repairs_replay_key", "repairs", ["replay_key"], unique=False)
    op.create_index("ix_repairs_status", "repairs", ["status", "created_at"], unique=False)
    op.create_table(
        "known_fixes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("replay_key", sa.String(length=64), nullable=False),
        sa.Column("group_key", sa.String(length=64), nullable=False),
        sa.Column("patch", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(length=64), nullable=False),
        sa.Column("defect", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("preimages", JSON, nullable=False),
        sa.Column("diff", sa.String(), nullable=False),
        sa.Column("proof", JSON, nullable=False),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_known_fixes")),
        sa.UniqueConstraint("replay_key", "patch", name="uq_known_fixes_patch"),
    )
    op.create_index(op.f("ix_known_fixes_replay_key"), "known_fixes", ["replay_key"], unique=False)
    op.create_index(op.f("ix_known_fixes_group_key"), "known_fixes", ["group_key"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("known_fixes")
    op.drop_table("repairs")

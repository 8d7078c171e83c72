"""The effects ledger: effects and beginnings of work, for chaos and stress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import UtcDateTime

revision = "0006_chaos"
down_revision = "0005b_memory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "effects",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(190), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("worker", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_effects"),
    )
    op.create_index("ix_effects_key", "effects", ["key"])
    op.create_index("ix_effects_at", "effects", ["at"])
    op.create_table(
        "effect_starts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(190), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_effect_starts"),
    )
    op.create_index("ix_effect_starts_key", "effect_starts", ["key"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("effect_starts")
    op.drop_table("effects")

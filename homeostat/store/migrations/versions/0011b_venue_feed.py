"""Predictions of the deep models, the minutes of a live feed, and the venue's own account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0011b_venue_feed"
down_revision = "0011_wanted_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "model_predictions",
        sa.Column("sha256", sa.String(length=64), primary_key=True),
        sa.Column("bar", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.String(length=48), nullable=False),
        sa.Column("rises", JSON, nullable=False),
        sa.Column("abstained", JSON, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
    )
    op.create_index("ix_model_predictions_at", "model_predictions", ["at"])
    op.create_table(
        "market_listings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("instruments", JSON, nullable=False),
    )
    op.create_table(
        "market_minutes",
        sa.Column("minute", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("listing", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("bars", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "venue_incomes",
        sa.Column("id", sa.String(length=64), primary_key=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("decision_id", sa.String(length=96), nullable=False),
    )
    op.create_index("ix_venue_incomes_at", "venue_incomes", ["at"])


def downgrade() -> None:
    """Drop the tables."""
    for name in ("venue_incomes", "market_minutes", "market_listings", "model_predictions"):
        op.drop_table(name)

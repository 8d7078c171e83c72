"""A model's signals of late, which fade, beside the counts of all: only they show a bias."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_recent_signals"
down_revision = "0011b_venue_feed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for name in ("recent_longs", "recent_shorts"):
        column: sa.Column[float] = sa.Column(name, sa.Double(), nullable=False, server_default="0")
        op.add_column("model_records", column)


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("model_records") as table:
        table.drop_column("recent_shorts")
        table.drop_column("recent_longs")

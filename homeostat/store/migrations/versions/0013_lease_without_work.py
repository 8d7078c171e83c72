"""A lease says no more when work was done: each passed probe said so, so it could not be false."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import UtcDateTime

revision = "0013_lease_without_work"
down_revision = "0012_recent_signals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("leases") as table:
        table.drop_column("worked_at")


def downgrade() -> None:
    """Add the column."""
    op.add_column("leases", sa.Column("worked_at", UtcDateTime(), nullable=True))

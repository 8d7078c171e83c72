"""A job says from when on it is wanted, so that one put off is not taken for one that waits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import UtcDateTime

revision = "0011_wanted_jobs"
down_revision = "0010_decision_rules"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a row of before, or of an older worker, has none."""
    op.add_column("jobs", sa.Column("wanted_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("jobs", "wanted_at")

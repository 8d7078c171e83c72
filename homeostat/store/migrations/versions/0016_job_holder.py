"""Which worker is at a long job: it is sent again when that worker has ended, not at its limit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016_job_holder"
down_revision = "0015_judged_counts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is at work now is held until its time limit."""
    op.add_column("jobs", sa.Column("holder", sa.String(255), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("jobs") as table:
        table.drop_column("holder")

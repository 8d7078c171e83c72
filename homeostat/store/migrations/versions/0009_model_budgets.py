"""What the language model has been asked, per incident and per day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_model_budgets"
down_revision = "0008_live_repair"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "model_budgets",
        sa.Column("account", sa.String(length=128), primary_key=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("model_budgets")

"""Decisions are no longer indexed by rule: it cost a sixth of the journal's writing.

The rules are counted by window, which the cycles' own index finds.
"""

from __future__ import annotations

from alembic import op

revision = "0010_decision_rules"
down_revision = "0009_model_budgets"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the index."""
    op.drop_index("ix_decisions_rule", table_name="decisions")


def downgrade() -> None:
    """Make the index."""
    op.create_index("ix_decisions_rule", "decisions", ["rule"])

"""What a model was judged on when a side of it was blocked: a verdict is derived anew from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_judged_counts"
down_revision = "0014_one_kind_of_window"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; a verdict that stands already was reached on about the present counts."""
    for name in ("judged_longs", "judged_shorts"):
        op.add_column("model_records", sa.Column(name, sa.Double(), nullable=True))
    op.execute(
        "UPDATE model_records SET judged_longs = recent_longs, judged_shorts = recent_shorts"
    )


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("model_records") as table:
        table.drop_column("judged_shorts")
        table.drop_column("judged_longs")

"""Failures in a row, for thresholds; indexes for the open incidents and the newest bundle."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_incident_indexes"
down_revision = "0006_chaos"
branch_labels = None
depends_on = None

_OPEN = sa.text("resolved_at IS NULL")


def upgrade() -> None:
    """Make the column and the indexes."""
    op.add_column(
        "incidents",
        sa.Column("failures_in_row", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_index(
        "ix_incidents_open_last_seen_at",
        "incidents",
        ["last_seen_at"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_incident_bundles_captured_at", "incident_bundles", ["captured_at"])


def downgrade() -> None:
    """Drop the column and the indexes."""
    op.drop_index("ix_incident_bundles_captured_at", "incident_bundles")
    op.drop_index("ix_incidents_open_last_seen_at", "incidents")
    op.drop_column("incidents", "failures_in_row")

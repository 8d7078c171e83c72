"""Indexes for the list of open incidents and for the newest bundle, whatever lies behind them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_incident_indexes"
down_revision = "0006_chaos"
branch_labels = None
depends_on = None

_OPEN = sa.text("resolved_at IS NULL")


def upgrade() -> None:
    """Make the indexes."""
    op.create_index(
        "ix_incidents_open_last_seen_at",
        "incidents",
        ["last_seen_at"],
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_incident_bundles_captured_at", "incident_bundles", ["captured_at"])


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("ix_incident_bundles_captured_at", "incident_bundles")
    op.drop_index("ix_incidents_open_last_seen_at", "incidents")

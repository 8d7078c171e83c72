"""The control plane: approvals, secrets, health, timing, decisions, figures, firings, contracts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0005_control_plane"
down_revision = "0004_repair"
branch_labels = None
depends_on = None

TABLES = (
    "action_contracts",
    "approvals",
    "audit_checkpoints",
    "decision_records",
    "figures",
    "firings",
    "maintenance_windows",
    "secrets",
    "state_changes",
    "tick_repeats",
    "track_records",
    "trust",
)


def upgrade() -> None:
    """Make the tables."""
    _audit_and_approvals()
    _health_and_timing()
    _decisions()


def _audit_and_approvals() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row_hash", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("risk", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=128), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("decided_by", sa.String(length=128), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index(
        "ix_approvals_state_expires", "approvals", ["state", "expires_at"], unique=False
    )
    op.create_table(
        "track_records",
        sa.Column("action", sa.String(length=128), nullable=False),
        sa.Column("signature", sa.String(length=255), nullable=False),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("in_row", sa.Integer(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("action", "signature", name=op.f("pk_track_records")),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_secrets")),
    )


def _health_and_timing() -> None:
    op.create_table(
        "state_changes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("component", sa.String(length=128), nullable=False),
        sa.Column("before", sa.String(length=16), nullable=False),
        sa.Column("after", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("suppressed_by", sa.String(length=128), nullable=False),
        sa.Column("muted_by", sa.String(length=36), nullable=False),
        sa.Column("flapping", sa.Boolean(), nullable=False),
        sa.Column("announced_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_state_changes")),
    )
    op.create_index(
        "ix_state_changes_announced_at", "state_changes", ["announced_at"], unique=False
    )
    op.create_index(
        "ix_state_changes_component_at", "state_changes", ["component", "at"], unique=False
    )
    op.create_table(
        "maintenance_windows",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("components", sa.String(length=128), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("ends_at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance_windows")),
    )
    op.create_table(
        "tick_repeats",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("entry", sa.String(length=128), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tick_repeats")),
    )
    op.create_index("ix_tick_repeats_due_at", "tick_repeats", ["due_at"], unique=False)
    op.create_table(
        "figures",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("subject", sa.String(length=190), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_figures")),
    )
    op.create_index("ix_figures_at", "figures", ["at"], unique=False)
    op.create_index(
        "ix_figures_subject_name_at", "figures", ["subject", "name", "at"], unique=False
    )


def _decisions() -> None:
    op.create_table(
        "decision_records",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("component", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("inputs", JSON, nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("alternatives", JSON, nullable=False),
        sa.Column("outcome", sa.String(length=255), nullable=False),
        sa.Column("audit_sequence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision_records")),
    )
    op.create_index(
        "ix_decision_records_component_at", "decision_records", ["component", "at"], unique=False
    )
    op.create_table(
        "trust",
        sa.Column("component", sa.String(length=128), nullable=False),
        sa.Column("successes", sa.Double(), nullable=False),
        sa.Column("failures", sa.Double(), nullable=False),
        sa.Column("counted_until", UtcDateTime(), nullable=True),
        sa.Column("quarantined_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("component", name=op.f("pk_trust")),
    )
    op.create_table(
        "firings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=190), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("held_back", sa.String(length=190), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("rule", "event_id", name="uq_firings_rule_event_id"),
    )
    op.create_index(
        "ix_firings_rule_subject_at", "firings", ["rule", "subject", "at"], unique=False
    )
    op.create_table(
        "action_contracts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=190), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("expected", JSON, nullable=False),
        sa.Column("before", JSON, nullable=False),
        sa.Column("observed", JSON, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_contracts")),
    )
    op.create_index(
        "ix_action_contracts_state_started",
        "action_contracts",
        ["state", "started_at"],
        unique=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in TABLES:
        op.drop_table(table)

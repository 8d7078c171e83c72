"""Incidents: occurrences, timeline, bundles, mutes, notices, repair budgets and breakers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0002_incidents"
down_revision = "0001b_beat"
branch_labels = None
depends_on = None

OPEN = sa.text("resolved_at IS NULL")


def upgrade() -> None:
    """Make the tables; `incidents` first, because the others refer to it."""
    _incidents()
    _history()
    _mutes_and_notices()
    _repair()


def _text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=nullable)


def _when(name: str, *, nullable: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def _incident(table: str, *, nullable: bool = False) -> tuple[sa.Column[str], sa.Constraint]:
    name = op.f(f"fk_{table}_incident_id_incidents")
    return (
        _text("incident_id", 36, nullable=nullable),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name=name, ondelete="CASCADE"),
    )


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _incidents() -> None:
    op.create_table(
        "incidents",
        _text("id", 36),
        _text("group_key", 64),
        _text("replay_key", 64),
        sa.Column("signature_version", sa.Integer(), nullable=False),
        _text("label", 255),
        _text("reason"),
        sa.Column("basis", JSON, nullable=False),
        _text("component", 255),
        _text("task", 255, nullable=True),
        _text("source", 16),
        _text("severity", 16),
        _text("type", 255),
        _text("message"),
        _text("state", 24),
        _when("state_since"),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("openings", sa.Integer(), nullable=False),
        sa.Column("healthy_runs", sa.Integer(), nullable=False),
        _when("opened_at"),
        _when("first_seen_at"),
        _when("last_seen_at"),
        _when("resolved_at", nullable=True),
        _text("resolved_by", 128, nullable=True),
        _text("acknowledged_by", 128, nullable=True),
        _when("acknowledged_at", nullable=True),
        _text("suppressed_by", 36, nullable=True),
        _when("flapping_since", nullable=True),
        sa.Column("announced", sa.Boolean(), nullable=False),
        _when("reminded_at", nullable=True),
        sa.Column("reminders", sa.Integer(), nullable=False),
        _primary("incidents", "id"),
    )
    op.create_index(
        "uq_incidents_open_group_key",
        "incidents",
        ["group_key"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    for name, columns in {
        "ix_incidents_group_key": ["group_key", "resolved_at"],
        "ix_incidents_component": ["component", "resolved_at"],
        "ix_incidents_last_seen_at": ["last_seen_at"],
        "ix_incidents_state": ["state", "last_seen_at"],
        op.f("ix_incidents_replay_key"): ["replay_key"],
    }.items():
        op.create_index(name, "incidents", columns)


def _history() -> None:
    op.create_table(
        "incident_timeline",
        _text("id", 36),
        *_incident("incident_timeline"),
        _when("at"),
        _text("actor", 128),
        _text("event", 32),
        _text("from_state", 24, nullable=True),
        _text("to_state", 24, nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("detail", JSON, nullable=False),
        _primary("incident_timeline", "id"),
    )
    op.create_index("ix_incident_timeline_incident", "incident_timeline", ["incident_id", "id"])
    op.create_table(
        "incident_occurrences",
        *_incident("incident_occurrences"),
        _text("component", 255),
        sa.Column("width_s", sa.Integer(), nullable=False),
        _when("starts_at"),
        sa.Column("count", sa.Integer(), nullable=False),
        _when("first_at"),
        _when("last_at"),
        _primary("incident_occurrences", "incident_id", "component", "width_s", "starts_at"),
    )
    op.create_index(
        "ix_incident_occurrences_rollup", "incident_occurrences", ["width_s", "starts_at"]
    )
    op.create_table(
        "incident_sightings",
        _text("key", 255),
        *_incident("incident_sightings", nullable=True),
        _when("at"),
        _primary("incident_sightings", "key"),
    )
    op.create_index(op.f("ix_incident_sightings_at"), "incident_sightings", ["at"])
    op.create_table(
        "incident_bundles",
        *_incident("incident_bundles"),
        sa.Column("opening", sa.Integer(), nullable=False),
        _when("captured_at"),
        sa.Column("content", JSON, nullable=False),
        _primary("incident_bundles", "incident_id", "opening"),
    )


def _mutes_and_notices() -> None:
    op.create_table(
        "incident_mutes",
        _text("id", 36),
        _text("kind", 16),
        _text("target", 255),
        _when("starts_at"),
        _when("ends_at"),
        _text("actor", 128),
        _text("reason"),
        _primary("incident_mutes", "id"),
    )
    op.create_index("ix_incident_mutes_ends_at", "incident_mutes", ["ends_at"])
    op.create_table(
        "incident_notices",
        _text("id", 36),
        _text("natural_key", 128),
        *_incident("incident_notices", nullable=True),
        _text("kind", 24),
        _text("title"),
        _text("body"),
        _when("created_at"),
        _when("claimed_at", nullable=True),
        _when("sent_at", nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _text("error", nullable=True),
        _primary("incident_notices", "id"),
        sa.UniqueConstraint("natural_key", name="uq_incident_notices_natural_key"),
    )
    op.create_index("ix_incident_notices_unsent", "incident_notices", ["sent_at", "created_at"])


def _repair() -> None:
    op.create_table(
        "repair_attempts",
        _text("id", 36),
        *_incident("repair_attempts"),
        _text("group_key", 64),
        _text("component", 255),
        _when("at"),
        _when("applied_at", nullable=True),
        _text("outcome", 24, nullable=True),
        _primary("repair_attempts", "id"),
    )
    op.create_index("ix_repair_attempts_at", "repair_attempts", ["at"])
    op.create_index("ix_repair_attempts_group_key", "repair_attempts", ["group_key", "at"])
    op.create_index("ix_repair_attempts_component", "repair_attempts", ["component", "at"])
    op.create_table(
        "repair_breakers",
        _text("scope", 255),
        _when("opened_at"),
        _when("open_until"),
        _text("reason"),
        _primary("repair_breakers", "scope"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "repair_breakers",
        "repair_attempts",
        "incident_notices",
        "incident_mutes",
        "incident_bundles",
        "incident_sightings",
        "incident_occurrences",
        "incident_timeline",
        "incidents",
    ):
        op.drop_table(table)

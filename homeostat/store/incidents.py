"""Incidents: one row per open failure, its counts, its timeline, its evidence, its notices.

The unique index on the group key of unresolved incidents is what makes "one failure, one
incident" hold under races: the database decides, not the worker. Occurrences are counts per
incident, component and slice of time, never a row each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime

_OPEN = text("resolved_at IS NULL")


class Incident(Base):
    """One failure that somebody, or the system itself, has to deal with.

    `openings` counts how often it was opened, reopenings included; each has its own analysis.
    `failures_in_row` counts the failures since the last healthy run of its component.
    `announced` says whether people were told of this opening, so that its end is told as well.
    """

    __tablename__ = "incidents"
    __table_args__ = (
        Index(
            "uq_incidents_open_group_key",
            "group_key",
            unique=True,
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_incidents_group_key", "group_key", "resolved_at"),
        Index("ix_incidents_component", "component", "resolved_at"),
        Index("ix_incidents_last_seen_at", "last_seen_at"),
        Index(
            "ix_incidents_open_last_seen_at",
            "last_seen_at",
            sqlite_where=_OPEN,
            postgresql_where=_OPEN,
        ),
        Index("ix_incidents_state", "state", "last_seen_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    group_key: Mapped[str] = mapped_column(String(64))
    replay_key: Mapped[str] = mapped_column(String(64), index=True)
    signature_version: Mapped[int]
    label: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str]
    basis: Mapped[dict[str, Any]] = mapped_column(JSON)
    component: Mapped[str] = mapped_column(String(255))
    task: Mapped[str | None] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str] = mapped_column(String(16))
    type: Mapped[str] = mapped_column(String(255))
    message: Mapped[str]
    state: Mapped[str] = mapped_column(String(24))
    state_since: Mapped[datetime] = mapped_column(UtcDateTime)
    occurrences: Mapped[int]
    openings: Mapped[int]
    failures_in_row: Mapped[int] = mapped_column(default=0, server_default="0")
    healthy_runs: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_by: Mapped[str | None] = mapped_column(String(128))
    acknowledged_by: Mapped[str | None] = mapped_column(String(128))
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    suppressed_by: Mapped[str | None] = mapped_column(String(36))
    flapping_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    announced: Mapped[bool] = mapped_column(default=False)
    reminded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reminders: Mapped[int] = mapped_column(default=0)


class TimelineEntry(Base):
    """One step in an incident's life: who did what, and how long the state before lasted."""

    __tablename__ = "incident_timeline"
    __table_args__ = (Index("ix_incident_timeline_incident", "incident_id", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    actor: Mapped[str] = mapped_column(String(128))
    event: Mapped[str] = mapped_column(String(32))
    from_state: Mapped[str | None] = mapped_column(String(24))
    to_state: Mapped[str | None] = mapped_column(String(24))
    seconds: Mapped[float | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class OccurrenceCount(Base):
    """How often an incident's failure happened in a component in one slice of time.

    `width_s` is the slice's length: a minute when fresh, an hour and a day when rolled up.
    """

    __tablename__ = "incident_occurrences"
    __table_args__ = (Index("ix_incident_occurrences_rollup", "width_s", "starts_at"),)

    incident_id: Mapped[str] = mapped_column(
        ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True
    )
    component: Mapped[str] = mapped_column(String(255), primary_key=True)
    width_s: Mapped[int] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    count: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Sighting(Base):
    """A report that was counted, by the reporter's own key, so that it is counted once."""

    __tablename__ = "incident_sightings"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    incident_id: Mapped[str | None] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Bundle(Base):
    """The diagnostic bundle of one opening of an incident."""

    __tablename__ = "incident_bundles"
    __table_args__ = (Index("ix_incident_bundles_captured_at", "captured_at"),)

    incident_id: Mapped[str] = mapped_column(
        ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True
    )
    opening: Mapped[int] = mapped_column(primary_key=True)
    captured_at: Mapped[datetime] = mapped_column(UtcDateTime)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


class Mute(Base):
    """A silence (of one incident, group key or component) or a component's maintenance window.

    It holds back announcements between `starts_at` and `ends_at`; it never hides an incident.
    """

    __tablename__ = "incident_mutes"
    __table_args__ = (Index("ix_incident_mutes_ends_at", "ends_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(255))
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(default="")


class Notice(Base):
    """One announcement to people: written with its cause, sent after the commit, once."""

    __tablename__ = "incident_notices"
    __table_args__ = (
        UniqueConstraint("natural_key", name="uq_incident_notices_natural_key"),
        Index("ix_incident_notices_unsent", "sent_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    natural_key: Mapped[str] = mapped_column(String(128))
    incident_id: Mapped[str | None] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(24))
    title: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]


class RepairAttempt(Base):
    """One attempt at a fix that a budget was charged for, and how it ended."""

    __tablename__ = "repair_attempts"
    __table_args__ = (
        Index("ix_repair_attempts_at", "at"),
        Index("ix_repair_attempts_group_key", "group_key", "at"),
        Index("ix_repair_attempts_component", "component", "at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    group_key: Mapped[str] = mapped_column(String(64))
    component: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(24))


class Breaker(Base):
    """A breaker that is open: no fix is attempted in its scope until `open_until`."""

    __tablename__ = "repair_breakers"

    scope: Mapped[str] = mapped_column(String(255), primary_key=True)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    open_until: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str]

"""Firings of trigger rules: which event led to which task, or why it did not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class Firing(Base):
    """One match of one rule; `job_id` is empty where cooldown or loop protection held it back."""

    __tablename__ = "firings"
    __table_args__ = (
        UniqueConstraint("rule", "event_id", name="uq_firings_rule_event_id"),
        Index("ix_firings_rule_subject_at", "rule", "subject", "at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    rule: Mapped[str] = mapped_column(String(64))
    event_id: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(190), default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    job_id: Mapped[str] = mapped_column(String(36), default="")
    held_back: Mapped[str] = mapped_column(String(190), default="")
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


def known(session: Session, rule: str, event_id: str) -> bool:
    """Return whether the rule has seen this event already."""
    statement = select(Firing.id).where(Firing.rule == rule, Firing.event_id == event_id)
    return session.scalar(statement) is not None


def fired_since(session: Session, rule: str, since: datetime, subject: str | None = None) -> int:
    """Return how often the rule led to a task since then, over all or for one subject."""
    statement = (
        select(func.count())
        .select_from(Firing)
        .where(Firing.rule == rule, Firing.at >= since, Firing.job_id != "")
    )
    if subject is not None:
        statement = statement.where(Firing.subject == subject)
    return int(session.scalar(statement) or 0)

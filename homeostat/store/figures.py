"""Measured figures over time: one row per subject, name and moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id
from homeostat.store.base import Base, UtcDateTime


class Figure(Base):
    """One measured value."""

    __tablename__ = "figures"
    __table_args__ = (
        Index("ix_figures_subject_name_at", "subject", "name", "at"),
        Index("ix_figures_at", "at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    #: What was measured: `process:host:1234`, `queue:checks`, `host:name`, `database`.
    subject: Mapped[str] = mapped_column(String(190))
    #: The figure and its unit: `rss_bytes`, `depth`, `oldest_s`.
    name: Mapped[str] = mapped_column(String(64))
    value: Mapped[float]


def record(session: Session, at: datetime, values: Mapping[tuple[str, str], float]) -> None:
    """Record the values of {(subject, name): value} as seen at that moment."""
    rows = [
        {"id": new_id(), "at": at, "subject": subject, "name": name, "value": float(value)}
        for (subject, name), value in values.items()
    ]
    if rows:
        session.execute(insert(Figure), rows)


def series(
    session: Session, subject: str, name: str, since: datetime
) -> Sequence[tuple[datetime, float]]:
    """Return the (moment, value) pairs since then, oldest first."""
    statement = (
        select(Figure.at, Figure.value)
        .where(Figure.subject == subject, Figure.name == name, Figure.at >= since)
        .order_by(Figure.at)
    )
    return [(at, value) for at, value in session.execute(statement)]


def subjects(session: Session, name: str, since: datetime) -> Sequence[str]:
    """Return the subjects for which that figure was measured since then."""
    statement = select(Figure.subject).where(Figure.name == name, Figure.at >= since).distinct()
    return sorted(session.scalars(statement))


def forget(session: Session, before: datetime) -> int:
    """Delete what was measured before that moment, and return how many rows."""
    result: Any = session.execute(
        delete(Figure).where(Figure.at < before).execution_options(synchronize_session=False)
    )
    return int(result.rowcount)

"""Lessons: what the outcomes so far say of each remedy, and which is no longer trusted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime


class Lesson(Base):
    """What was learnt of one remedy: `playbook:reconnect`, `fix:missing_export`."""

    __tablename__ = "lessons"

    subject: Mapped[str] = mapped_column(String(190), primary_key=True)
    won: Mapped[int] = mapped_column(default=0)
    lost: Mapped[int] = mapped_column(default=0)
    mean: Mapped[float] = mapped_column(default=0.5)
    upper: Mapped[float] = mapped_column(default=1.0)
    trusted: Mapped[bool] = mapped_column(default=True)
    learnt_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


def distrusted(session: Session, prefix: str) -> set[str]:
    """Return the subjects below `prefix` that are no longer trusted, without the prefix."""
    statement = select(Lesson.subject).where(
        Lesson.trusted.is_(False), Lesson.subject.startswith(prefix, autoescape=True)
    )
    return {subject.removeprefix(prefix) for subject in session.scalars(statement)}


def all_lessons(session: Session) -> Sequence[Lesson]:
    """Return all lessons by subject."""
    return session.scalars(select(Lesson).order_by(Lesson.subject)).all()

"""Secrets at rest: every version of each is a token that only the key can open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime


class Secret(Base):
    """One version of one secret, encrypted."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    created_by: Mapped[str] = mapped_column(String(128))
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def newest(session: Session, name: str, *, lock: bool = False) -> Secret | None:
    """Return the newest version of a secret, revoked or not."""
    statement = select(Secret).where(Secret.name == name).order_by(Secret.version.desc()).limit(1)
    if lock:
        statement = statement.with_for_update()
    return session.scalar(statement.execution_options(populate_existing=True))


def every(session: Session, *, lock: bool = False) -> Sequence[Secret]:
    """Return all versions of all secrets, by name and version."""
    statement = select(Secret).order_by(Secret.name, Secret.version)
    if lock:
        statement = statement.with_for_update()
    return session.scalars(statement.execution_options(populate_existing=True)).all()


def count(session: Session) -> int:
    """Return how many secrets there are, not counting versions."""
    return int(session.scalar(select(func.count(func.distinct(Secret.name)))) or 0)

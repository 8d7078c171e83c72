"""State changes of components: what was told of each, and what held it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime


class StateChange(Base):
    """One change of one component's state, and why nobody is to be paged for it, if so."""

    __tablename__ = "state_changes"
    __table_args__ = (
        Index("ix_state_changes_component_at", "component", "at"),
        Index("ix_state_changes_announced_at", "announced_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    component: Mapped[str] = mapped_column(String(128))
    before: Mapped[str] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    #: The failed parent that explains this one; empty where it stands for itself.
    suppressed_by: Mapped[str] = mapped_column(String(128), default="")
    muted_by: Mapped[str] = mapped_column(String(36), default="")
    flapping: Mapped[bool] = mapped_column(default=False)
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def newest_changes(session: Session) -> dict[str, StateChange]:
    """Return each component's newest state change."""
    newest = select(func.max(StateChange.id)).group_by(StateChange.component)
    found = session.scalars(select(StateChange).where(StateChange.id.in_(newest)))
    return {change.component: change for change in found}


def changes_since(session: Session, component: str, since: datetime) -> Sequence[StateChange]:
    """Return the component's state changes since then, oldest first."""
    statement = (
        select(StateChange)
        .where(StateChange.component == component, StateChange.at >= since)
        .order_by(StateChange.id)
    )
    return session.scalars(statement).all()


def unannounced(session: Session, *, limit: int = 200) -> Sequence[StateChange]:
    """Return the changes that nobody was told of yet, oldest first."""
    statement = (
        select(StateChange)
        .where(StateChange.announced_at.is_(None))
        .order_by(StateChange.id)
        .limit(limit)
    )
    return session.scalars(statement).all()

"""Action contracts: what an act was meant to change, what was there before, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class ContractState(StrEnum):
    """Where a contract stands; all but ACTING are ends."""

    ACTING = "acting"
    HELD = "held"
    ROLLED_BACK = "rolled_back"
    BROKEN = "broken"


class ActionContract(Base):
    """One act under contract."""

    __tablename__ = "action_contracts"
    __table_args__ = (Index("ix_action_contracts_state_started", "state", "started_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(190))
    actor: Mapped[str] = mapped_column(String(128))
    expected: Mapped[dict[str, Any]] = mapped_column(JSON)
    before: Mapped[dict[str, Any]] = mapped_column(JSON)
    observed: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(16), default=ContractState.ACTING)
    reason: Mapped[str] = mapped_column(default="")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def abandoned(session: Session, older_than: timedelta) -> Sequence[ActionContract]:
    """Return the contracts whose act began so long ago that its process must have died."""
    statement = select(ActionContract).where(
        ActionContract.state == ContractState.ACTING,
        ActionContract.started_at < utcnow() - older_than,
    )
    return session.scalars(statement).all()


def on(session: Session, subject: str) -> Sequence[ActionContract]:
    """Return the contracts on one subject, oldest first."""
    statement = select(ActionContract).where(ActionContract.subject == subject)
    return session.scalars(statement.order_by(ActionContract.id)).all()

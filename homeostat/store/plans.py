"""Plans: the route that an incident was sent on, and whether it was followed to its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class Route(StrEnum):
    """Who deals with it."""

    PLAYBOOK = "playbook"
    CODING_AGENT = "coding_agent"
    PERSON = "person"


class PlanState(StrEnum):
    """Where a plan stands; DONE and ESCALATED are ends."""

    WAITING = "waiting"
    DISPATCHED = "dispatched"
    DONE = "done"
    ESCALATED = "escalated"


class IncidentPlan(Base):
    """The plan for one opening of one incident."""

    __tablename__ = "incident_plans"
    __table_args__ = (
        UniqueConstraint("incident_id", "opening", name="uq_incident_plans_incident_id"),
        Index("ix_incident_plans_state", "state", "due_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    incident_id: Mapped[str] = mapped_column(String(36))
    opening: Mapped[int]
    route: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16))
    #: The order in which plans of one cycle were dispatched: the most severe first.
    position: Mapped[int] = mapped_column(default=0)
    #: Who agreed that it may go ahead, and why.
    cosigned_by: Mapped[str] = mapped_column(String(128), default="")
    reason: Mapped[str] = mapped_column(default="")
    recalled: Mapped[list[Any]] = mapped_column(JSON, default=list)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


OPEN = (PlanState.WAITING, PlanState.DISPATCHED)


def open_plans(session: Session) -> Sequence[IncidentPlan]:
    """Return the plans that have not ended, in the order they were made."""
    statement = select(IncidentPlan).where(IncidentPlan.state.in_(OPEN))
    return session.scalars(statement.order_by(IncidentPlan.made_at, IncidentPlan.position)).all()


def plan_of(session: Session, incident_id: str, opening: int) -> IncidentPlan | None:
    """Return the plan of one opening of an incident."""
    return session.scalar(
        select(IncidentPlan).where(
            IncidentPlan.incident_id == incident_id, IncidentPlan.opening == opening
        )
    )

"""Decision records of automated acts, and the trust that each component has earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store import audit
from homeostat.store.base import JSON, Base, UtcDateTime


class DecisionRecord(Base):
    """Why one automated act was done: what was known, which rule spoke, what else was possible."""

    __tablename__ = "decision_records"
    __table_args__ = (Index("ix_decision_records_component_at", "component", "at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    component: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(128))
    subject: Mapped[str] = mapped_column(String(255))
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    rule: Mapped[str] = mapped_column(default="")
    #: The other ways and why each was not taken: [{"action": …, "because": …}].
    alternatives: Mapped[list[Any]] = mapped_column(JSON, default=list)
    outcome: Mapped[str] = mapped_column(String(255), default="")
    audit_sequence: Mapped[int]


class Trust(Base):
    """Proven work and failures of one component, faded by age, and whether it is quarantined."""

    __tablename__ = "trust"

    component: Mapped[str] = mapped_column(String(128), primary_key=True)
    successes: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[float] = mapped_column(default=0.0)
    #: Check runs up to here are counted.
    counted_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    quarantined_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def record(
    session: Session,
    *,
    component: str,
    action: str,
    subject: str,
    inputs: Mapping[str, JsonValue],
    rule: str,
    alternatives: Sequence[Mapping[str, JsonValue]] = (),
    outcome: str = "",
) -> DecisionRecord:
    """Record one automated act, and append it to the audit log, in the caller's transaction.

    Each alternative is {"action": what else was possible, "because": why it was not taken}.
    """
    record_id = new_id()
    others: list[JsonValue] = [dict(other) for other in alternatives]
    row = audit.append(
        session,
        actor=component,
        action=action,
        resource=subject,
        decision=rule[:64],
        subsystem=component,
        payload={"decision": record_id, "inputs": dict(inputs), "alternatives": others},
        result=outcome,
    )
    made = DecisionRecord(
        id=record_id,
        component=component,
        action=action,
        subject=subject,
        inputs=dict(inputs),
        rule=rule,
        alternatives=others,
        outcome=outcome,
        audit_sequence=row.sequence,
    )
    session.add(made)
    session.flush()
    return made


def recent(session: Session, *, limit: int = 50) -> Sequence[DecisionRecord]:
    """Return the newest decision records."""
    return session.scalars(
        select(DecisionRecord).order_by(DecisionRecord.id.desc()).limit(limit)
    ).all()


def on(session: Session, subject: str, *, limit: int = 200) -> Sequence[DecisionRecord]:
    """Return the decisions on one subject, oldest first."""
    return session.scalars(
        select(DecisionRecord)
        .where(DecisionRecord.subject == subject)
        .order_by(DecisionRecord.id)
        .limit(limit)
    ).all()


def trust_rows(session: Session) -> dict[str, Trust]:
    """Return the trust rows by component."""
    return {row.component: row for row in session.scalars(select(Trust))}

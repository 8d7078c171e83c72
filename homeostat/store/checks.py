"""Check runs and leases: what was really run, and what is therefore known of each component.

A check run's natural key is its beat entry and due time, so a tick delivered twice has one row;
`deliveries` counts the repeats that were refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id
from homeostat.store.base import JSON, Base, UtcDateTime


class CheckRun(Base):
    """One run of a component's check for one due tick of one beat entry."""

    __tablename__ = "check_runs"
    __table_args__ = (
        UniqueConstraint("entry", "due_at", name="uq_check_runs_entry_due_at"),
        Index("ix_check_runs_component_started", "component", "started_at"),
        Index("ix_check_runs_due_at", "due_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    entry: Mapped[str] = mapped_column(String(128))
    component: Mapped[str] = mapped_column(String(128))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    passed: Mapped[bool]
    work: Mapped[int] = mapped_column(default=0)
    deliveries: Mapped[int] = mapped_column(default=1)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    worker: Mapped[str] = mapped_column(String(128), default="")


class Lease(Base):
    """What the last checks of a component prove, and until when that may be believed."""

    __tablename__ = "leases"

    component: Mapped[str] = mapped_column(String(128), primary_key=True)
    tier: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str] = mapped_column(String(128), default="")
    renewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    probe_passed: Mapped[bool] = mapped_column(default=False)
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    failures_in_row: Mapped[int] = mapped_column(default=0)
    successes_in_row: Mapped[int] = mapped_column(default=0)
    failed_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(default="")


def count_delivery(session: Session, entry: str, due_at: datetime) -> bool:
    """Return whether the tick has run already; if so, count this refused repeat of it."""
    statement = (
        update(CheckRun)
        .where(CheckRun.entry == entry, CheckRun.due_at == due_at)
        .values(deliveries=CheckRun.deliveries + 1)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return bool(result.rowcount)


def record_run(session: Session, run: CheckRun) -> None:
    """Add one check run; raises IntegrityError where another worker recorded the tick first."""
    session.add(run)
    session.flush()


def lease_of(session: Session, component: str) -> Lease:
    """Return the component's lease, made (as UNKNOWN: never renewed) where there is none."""
    lease = session.get(Lease, component)
    if lease is None:
        lease = Lease(
            component=component,
            tier=0,
            holder="",
            probe_passed=False,
            evidence={},
            failures_in_row=0,
            successes_in_row=0,
            reason="",
        )
        session.add(lease)
        session.flush()
    return lease


def leases(session: Session) -> dict[str, Lease]:
    """Return all leases by component name."""
    return {lease.component: lease for lease in session.scalars(select(Lease))}


def runs_between(session: Session, start: datetime, end: datetime) -> Sequence[CheckRun]:
    """Return the runs whose ticks were due in [start, end), in order of due time."""
    statement = (
        select(CheckRun)
        .where(CheckRun.due_at >= start, CheckRun.due_at < end)
        .order_by(CheckRun.due_at)
    )
    return session.scalars(statement).all()

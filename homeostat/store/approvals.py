"""Approvals: an action that waits for a person, what it would do, and the one decision on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.errors import HomeostatError
from homeostat.store.base import Base, UtcDateTime


class ApprovalState(StrEnum):
    """Where an approval stands; REJECTED, EXPIRED and USED are ends."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    USED = "used"


class ApprovalError(HomeostatError):
    """The approval cannot be decided or used."""

    exit_code = 77


class Approval(Base):
    """One request to let one action happen once."""

    __tablename__ = "approvals"
    __table_args__ = (Index("ix_approvals_state_expires", "state", "expires_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    action: Mapped[str] = mapped_column(String(128))
    #: What it acts on: an incident's id, a component, a model.
    subject: Mapped[str] = mapped_column(String(255))
    risk: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(128))
    #: The diff or plan that the person looks at.
    plan: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.PENDING)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_by: Mapped[str] = mapped_column(String(128), default="")
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(default="")


def request(
    session: Session,
    *,
    action: str,
    subject: str,
    risk: str,
    requested_by: str,
    plan: str,
    valid_for: timedelta,
) -> Approval:
    """Write a pending approval in the caller's transaction; an open one for the same is reused."""
    open_one = session.scalar(
        select(Approval).where(
            Approval.action == action,
            Approval.subject == subject,
            Approval.plan == plan,
            Approval.state.in_((ApprovalState.PENDING, ApprovalState.APPROVED)),
            Approval.expires_at > utcnow(),
        )
    )
    if open_one is not None:
        return open_one
    now = utcnow()
    approval = Approval(
        id=new_id(),
        action=action,
        subject=subject,
        risk=risk,
        requested_by=requested_by,
        plan=plan,
        state=ApprovalState.PENDING,
        created_at=now,
        expires_at=now + valid_for,
    )
    session.add(approval)
    session.flush()
    return approval


def decide(session: Session, approval_id: str, *, approve: bool, by: str, reason: str = "") -> None:
    """Decide once; raises ApprovalError where it is unknown, expired or decided already."""
    state = ApprovalState.APPROVED if approve else ApprovalState.REJECTED
    changed = _change(
        session,
        approval_id,
        ApprovalState.PENDING,
        state=state,
        decided_by=by,
        decided_at=utcnow(),
        reason=reason,
    )
    if not changed:
        raise ApprovalError(f"Approval {approval_id} {_why_not(session, approval_id)}.")


def use(session: Session, approval_id: str, *, action: str, subject: str) -> bool:
    """Spend an approved approval on exactly this action and subject; True at most once."""
    return _change(
        session,
        approval_id,
        ApprovalState.APPROVED,
        Approval.action == action,
        Approval.subject == subject,
        state=ApprovalState.USED,
        used_at=utcnow(),
    )


def expire(session: Session) -> int:
    """End the open approvals whose time has passed, and return how many."""
    statement = (
        update(Approval)
        .where(
            Approval.state.in_((ApprovalState.PENDING, ApprovalState.APPROVED)),
            Approval.expires_at <= utcnow(),
        )
        .values(state=ApprovalState.EXPIRED)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return int(result.rowcount)


def of(session: Session, subject: str) -> Approval | None:
    """Return the newest approval of that subject."""
    statement = select(Approval).where(Approval.subject == subject)
    newest = statement.order_by(Approval.created_at.desc(), Approval.id.desc()).limit(1)
    return session.scalar(newest.execution_options(populate_existing=True))


def waiting(session: Session) -> Sequence[Approval]:
    """Return the approvals that wait for a person, oldest first."""
    statement = (
        select(Approval)
        .where(Approval.state == ApprovalState.PENDING, Approval.expires_at > utcnow())
        .order_by(Approval.created_at)
    )
    return session.scalars(statement).all()


def _change(
    session: Session, approval_id: str, expected: ApprovalState, *conditions: Any, **values: Any
) -> bool:
    # A compare-and-set: of two deciders or two users, the second changes no row.
    statement = (
        update(Approval)
        .where(
            Approval.id == approval_id,
            Approval.state == expected,
            Approval.expires_at > utcnow(),
            *conditions,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return bool(result.rowcount == 1)


def _why_not(session: Session, approval_id: str) -> str:
    found = session.get(Approval, approval_id, populate_existing=True)
    if found is None:
        return "does not exist; `homeostat approval list` shows those that wait"
    if found.state == ApprovalState.PENDING:
        return f"ran out at {found.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"is {found.state} already"

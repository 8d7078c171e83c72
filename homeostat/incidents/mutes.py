"""Silences and maintenance windows: they hold announcements back, and always have an end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.store.incidents import Incident, Mute

#: A silence that lasts longer than this is forgotten by those who set it.
LONGEST = timedelta(days=30)


class MuteKind(StrEnum):
    """Why announcements are held back."""

    SILENCE = "silence"
    MAINTENANCE = "maintenance"


class MuteRefusedError(HomeostatError):
    """A silence needs an end that is in the future and at most 30 days away."""

    exit_code = 65


def add(
    session: Session,
    kind: MuteKind,
    target: str,
    *,
    ends_at: datetime,
    actor: str,
    starts_at: datetime | None = None,
    reason: str = "",
) -> Mute:
    """Hold back announcements for `target`: an incident's id, a group key, or a component.

    A component ending in `.*` stands for all below it (`kernels.*`). Raises MuteRefusedError
    where the end is missing its mark, or the target is nothing.
    """
    begins = starts_at or utcnow()
    if not target.strip():
        raise MuteRefusedError("A maintenance window is of a component; name it.")
    if not begins < ends_at <= begins + LONGEST or ends_at <= utcnow():
        raise MuteRefusedError
    mute = Mute(
        kind=kind, target=target, starts_at=begins, ends_at=ends_at, actor=actor, reason=reason
    )
    session.add(mute)
    session.flush()
    return mute


def in_force(session: Session, incident: Incident, now: datetime) -> Mute | None:
    """Return the mute that covers the incident now and ends last, or None."""
    targets = [incident.id, incident.group_key, *_over(incident.component)]
    return _longest(session, targets, now)


def on_component(session: Session, component: str, now: datetime) -> Mute | None:
    """Return the mute that covers all of the component now and ends last, or None."""
    return _longest(session, _over(component), now)


def _over(component: str) -> list[str]:
    """Return the targets that cover a component: itself, and what it lies below."""
    parts = component.split(".")
    return [component, *(".".join([*parts[:length], "*"]) for length in range(len(parts)))]


def _longest(session: Session, targets: Sequence[str], now: datetime) -> Mute | None:
    statement = (
        select(Mute)
        .where(Mute.target.in_(targets), Mute.starts_at <= now, Mute.ends_at > now)
        .order_by(Mute.ends_at.desc())
        .limit(1)
    )
    return session.scalar(statement)


def lift(session: Session, mute_id: str, now: datetime) -> bool:
    """End a mute now; False where there is none of that id in force."""
    mute = session.get(Mute, mute_id)
    if mute is None or mute.ends_at <= now:
        return False
    mute.ends_at = now
    session.flush()
    return True

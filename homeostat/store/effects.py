"""The effects ledger: what was really done, so that loss and doubling can be counted.

Neither table forbids a key to come twice: a ledger that cannot show a doubled effect proves
nothing. That each effect happens once is the work of the job's row (`homeostat.store.jobs`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime

#: How many keys one statement asks for; SQLite takes 32,766 variables at most.
_BATCH = 5_000


class Effect(Base):
    """One effect under its natural key."""

    __tablename__ = "effects"
    __table_args__ = (Index("ix_effects_key", "key"), Index("ix_effects_at", "at"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(190))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    worker: Mapped[str] = mapped_column(String(128), default="")


class EffectStart(Base):
    """One beginning of work on a key, committed before the work: a killed task leaves it behind."""

    __tablename__ = "effect_starts"
    __table_args__ = (Index("ix_effect_starts_key", "key"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(190))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    pid: Mapped[int]


def counts(session: Session, keys: Collection[str]) -> Mapping[str, int]:
    """Return how many effects each of the keys has; a key without any is left out."""
    found: dict[str, int] = {}
    wanted = sorted(keys)
    for at in range(0, len(wanted), _BATCH):
        statement = (
            select(Effect.key, func.count())
            .where(Effect.key.in_(wanted[at : at + _BATCH]))
            .group_by(Effect.key)
        )
        found |= {key: int(count) for key, count in session.execute(statement)}
    return found


def starts_of(session: Session, key: str) -> Sequence[EffectStart]:
    """Return the beginnings of work on the key, oldest first."""
    statement = select(EffectStart).where(EffectStart.key == key).order_by(EffectStart.at)
    return session.scalars(statement).all()


def first_after(session: Session, moment: datetime) -> datetime | None:
    """Return when the first effect after that moment happened."""
    return session.scalar(select(func.min(Effect.at)).where(Effect.at > moment))


def since(session: Session, moment: datetime, prefix: str = "") -> Sequence[tuple[str, datetime]]:
    """Return (key, moment) of the effects since then whose key begins so, oldest first."""
    statement = (
        select(Effect.key, Effect.at)
        .where(Effect.at >= moment, Effect.key.startswith(prefix, autoescape=True))
        .order_by(Effect.at)
    )
    return [(key, at) for key, at in session.execute(statement)]


def last_of(session: Session, keys: Collection[str]) -> datetime | None:
    """Return when the last of the keys' effects happened."""
    moments = []
    wanted = sorted(keys)
    for at in range(0, len(wanted), _BATCH):
        statement = select(func.max(Effect.at)).where(Effect.key.in_(wanted[at : at + _BATCH]))
        moments.append(session.scalar(statement))
    return max((moment for moment in moments if moment), default=None)

"""Switches that hold parts of the system back: trading paused, the safe profile, a model off.

A switch is a row that every process reads before it acts; it names who set it, why, and until
when it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import String, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime
from homeostat.store.prepared import Prepared, Row

#: No new position is opened while this holds.
TRADING_PAUSED = "trading.paused"
#: Before a component's name: it may do nothing by itself for now (kernels.clarity_framework).
QUARANTINE = "quarantine:"
#: The emergency brake: it is read before any other rule, and no position is opened under it.
BRAKE = "trading.brake"
#: Trading runs with its most careful profile while this holds.
SAFE_PROFILE = "trading.safe_profile"
#: Followed by a model's name: it gives no signal while this holds.
MODEL_DISABLED = "model.disabled:"


class Control(Base):
    """One switch that was set; a switch that nobody set has no row."""

    __tablename__ = "controls"

    name: Mapped[str] = mapped_column(String(190), primary_key=True)
    actor: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(default="")
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)


# Switches are read many times a second; a row without the ORM's bookkeeping costs a third.
_ALL = select(Control.__table__.c.name, Control.__table__.c.until)
_NAMED = Prepared(_ALL.where(Control.__table__.c.name == bindparam("name")))
_EACH = Prepared(_ALL)


def set_on(
    session: Session, name: str, *, actor: str, reason: str, until: datetime | None = None
) -> Control:
    """Set the switch; a switch that is set already takes the new reason and end."""
    control = session.get(Control, name)
    if control is None:
        control = Control(name=name, actor=actor)
        session.add(control)
    control.actor, control.reason, control.until = actor, reason, until
    control.since = utcnow()
    session.flush()
    return control


def lift(session: Session, name: str) -> bool:
    """Lift the switch; False where it was not set."""
    control = session.get(Control, name)
    if control is None:
        return False
    session.delete(control)
    session.flush()
    return True


def is_on(session: Session, name: str) -> bool:
    """Return whether the switch holds at this moment."""
    return name in _holding(_NAMED.rows(session, name=name))


def holding(session: Session) -> frozenset[str]:
    """Return the names of all switches that hold at this moment, in one look."""
    return _holding(_EACH.rows(session))


def _holding(rows: Iterable[Row]) -> frozenset[str]:
    now = utcnow()
    return frozenset(name for name, until in rows if until is None or until > now)


def expired(session: Session) -> Sequence[Control]:
    """Return the switches whose end has passed."""
    return session.scalars(select(Control).where(Control.until <= utcnow())).all()


def all_set(session: Session) -> Sequence[Control]:
    """Return all switches that are set, by name."""
    return session.scalars(select(Control).order_by(Control.name)).all()

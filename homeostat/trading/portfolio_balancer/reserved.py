"""The rows of what is reserved: read, taken, resized and given back, each by one statement.

The flow asks and changes them every minute; the unit of work would cost four times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import Reservation
from homeostat.trading.portfolio_balancer.limits import Candidate, Limits

HELD, RELEASED = "HELD", "RELEASED"
_TABLE: Any = Reservation.__table__
_C = _TABLE.c
_IN_BOOK = select(
    _C.decision_id, _C.symbol, _C.side, _C.risk, _C.notional, _C.cluster, _C.margin
).where(_C.state == HELD, _C.book == bindparam("in_book"))
_TAKE = insert(_TABLE)
_ONE = update(_TABLE).where(_C.decision_id == bindparam("key"), _C.state == HELD)
_RELEASE = _ONE.values(state=RELEASED)
_RESIZE = _ONE.values({name: bindparam(name) for name in ("risk", "notional", "margin")})


def in_book(session: Session, book: str) -> Sequence[Any]:
    """Return what is held in a book."""
    return session.connection().execute(_IN_BOOK, {"in_book": book}).all()


def take(session: Session, book: str, candidates: Sequence[Candidate], limits: Limits) -> None:
    """Hold room for these candidates."""
    now = utcnow()
    rows = [
        {
            "decision_id": one.decision_id,
            "book": book,
            "symbol": one.symbol,
            "side": one.side,
            "cluster": one.cluster,
            "risk": one.risk,
            "margin": one.notional / limits.leverage,
            "notional": one.notional,
            "state": HELD,
            "at": now,
        }
        for one in candidates
    ]
    session.connection().execute(_TAKE, rows)


def resize(
    session: Session, decision_id: str, *, risk: float, notional: float, margin: float
) -> None:
    """Let a reservation that is held be of this size."""
    sized = {"key": decision_id, "risk": risk, "notional": notional, "margin": margin}
    session.connection().execute(_RESIZE, sized)


def release(session: Session, decision_id: str) -> bool:
    """Give a reservation back; False where none is held."""
    return session.connection().execute(_RELEASE, {"key": decision_id}).rowcount == 1

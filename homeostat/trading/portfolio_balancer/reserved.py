"""The rows of what is reserved: read, taken, resized and given back, each by one statement.

The flow asks and changes them every minute; the unit of work would cost four times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.prepared import Prepared
from homeostat.store.trading import Reservation
from homeostat.trading.portfolio_balancer.limits import Candidate, Limits

HELD, RELEASED = "HELD", "RELEASED"


class Reserved(NamedTuple):
    """What is held for one decision; risk, notional and margin in the quote currency."""

    decision_id: str
    symbol: str
    side: int
    risk: float
    notional: float
    cluster: int
    margin: float


_TABLE: Any = Reservation.__table__
_C = _TABLE.c
_IN_BOOK = Prepared(
    select(*(_C[name] for name in Reserved._fields)).where(
        _C.state == HELD, _C.book == bindparam("in_book")
    )
)
_TAKE = Prepared(insert(_TABLE), *_C.keys())
_ONE = update(_TABLE).where(_C.decision_id == bindparam("key"), _C.state == HELD)
_RELEASE = Prepared(_ONE.values(state=RELEASED))
_RESIZE = Prepared(_ONE.values({name: bindparam(name) for name in ("risk", "notional", "margin")}))


def in_book(session: Session, book: str) -> list[Reserved]:
    """Return what is held in a book."""
    return [Reserved(*row) for row in _IN_BOOK.rows(session, in_book=book)]


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
    _TAKE.send(session, rows)


def resize(
    session: Session, decision_id: str, *, risk: float, notional: float, margin: float
) -> None:
    """Let a reservation that is held be of this size."""
    _RESIZE.change(session, key=decision_id, risk=risk, notional=notional, margin=margin)


def release(session: Session, decision_id: str) -> bool:
    """Give a reservation back; False where none is held."""
    return _RELEASE.change(session, key=decision_id) == 1

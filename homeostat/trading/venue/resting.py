"""What rests at the paper venue: reduce-only orders, put, moved and canceled by one statement each.

A bar may move or end several; the unit of work would read each of them first.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.prepared import Prepared
from homeostat.store.trading import Order, Position, client_order_id

RESTING, CANCELED = "RESTING", "CANCELED"
_TABLE: Any = Order.__table__
_C = _TABLE.c
_PUT = Prepared(insert(_TABLE), *_C.keys())
_MOVE = Prepared(
    update(_TABLE)
    .where(_C.client_id == bindparam("key"))
    .values({name: bindparam(name) for name in ("state", "trigger", "quantity", "updated_at")})
)
_TRIGGER = Prepared(select(_C.trigger).where(_C.client_id == bindparam("key"), _C.state == RESTING))
_CANCEL = Prepared(
    update(_TABLE)
    .where(_C.decision_id == bindparam("decision"), _C.state == RESTING)
    .values(state=CANCELED, updated_at=bindparam("now"))
)


def rest(session: Session, position: Position, kind: str, trigger: float) -> None:
    """Put a reduce-only order to rest at the venue, or move the one that rests there."""
    now, client_id = utcnow(), client_order_id(position.decision_id, kind)
    wanted = {
        "state": RESTING,
        "trigger": trigger,
        "quantity": position.quantity,
        "updated_at": now,
    }
    if _MOVE.change(session, key=client_id, **wanted):
        return
    row = {
        "client_id": client_id,
        "decision_id": position.decision_id,
        "book": position.book,
        "symbol": position.symbol,
        "kind": kind,
        "side": -position.side,
        "reduce_only": True,
        "fee": 0.0,
        "slippage": 0.0,
        "price": None,
        "reason": "",
        "created_at": now,
    }
    _PUT.change(session, **row, **wanted)


def resting(session: Session, position: Position, kind: str = "STOP") -> float | None:
    """Return the trigger of the order that rests for the position, or None where none does."""
    known = _TRIGGER.rows(session, key=client_order_id(position.decision_id, kind))
    return known[0][0] if known else None


def cancel(session: Session, position: Position) -> None:
    """Let nothing rest for the position any more."""
    _CANCEL.change(session, decision=position.decision_id, now=utcnow())

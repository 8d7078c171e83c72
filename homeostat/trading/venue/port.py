"""The port: each call goes to the paper venue, or is written down for the outside one.

The canary's book is always paper: a synthetic trade never meets a real venue.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.settings import settings
from homeostat.store.trading import CANARY, Order, Position
from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue import intent, paper
from homeostat.trading.venue import resting as resting_orders
from homeostat.trading.venue.orders import Wanted
from homeostat.trading.venue.paper import Bar, Closed


def _outside(book: str) -> bool:
    return book != CANARY and settings().trades_outside


def takes_adds(book: str) -> bool:
    """Return whether a position may be added to: its stop would have to move first, outside too."""
    return not _outside(book)


def send(session: Session, position: Position | None, wanted: Wanted) -> Order:
    """Send a market order; filled or rejected on paper, NEW where it goes outside."""
    way = intent.send if _outside(wanted.book) else paper.send
    return way(session, position, wanted)


def rest(session: Session, position: Position, kind: str, trigger: float) -> None:
    """Put a reduce-only order to rest, or move the one that rests."""
    way = intent.rest if _outside(position.book) else resting_orders.rest
    way(session, position, kind, trigger)


def resting(session: Session, position: Position, kind: str = "STOP") -> float | None:
    """Return the trigger of the order that rests for the position, None where none does."""
    way = intent.resting if _outside(position.book) else resting_orders.resting
    return way(session, position, kind)


def advance(
    session: Session, position: Position, bar: Bar, instrument: Instrument
) -> Closed | None:
    """Let one closed bar happen to a position; returns how it was closed, or None."""
    if _outside(position.book):
        intent.advance(session, position, bar, instrument)
        return None
    return paper.advance(session, position, bar, instrument)


def move_stop(session: Session, position: Position, stop: float) -> None:
    """Move the resident stop; it is only ever tightened."""
    way = intent.move_stop if _outside(position.book) else paper.move_stop
    way(session, position, stop)


def close(
    session: Session, position: Position, price: float, rule: str, instrument: Instrument
) -> Closed | None:
    """Close the whole position at about `price`; None where that is still on its way."""
    if _outside(position.book):
        intent.close(session, position, price, rule, instrument)
        return None
    return paper.close(session, position, price, rule, instrument)


def reduce(
    session: Session,
    position: Position,
    quantity: float,
    price: float,
    instrument: Instrument,
    kind: str,
) -> Order:
    """Take part of a position off at about `price`."""
    way = intent.reduce if _outside(position.book) else paper.reduce
    return way(session, position, quantity, price, instrument, kind)

"""From a reservation to a position whose stop rests at the venue: one order per decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from homeostat.store import trading as store
from homeostat.store.trading import Book, Directive, Position, decision_id
from homeostat.trading import venue
from homeostat.trading.flow.batch import OPENED, Batch
from homeostat.trading.flow.parties import FLOW, Parties
from homeostat.trading.market.panel import Instrument

#: What the journal keeps of each reservation that the balancer saw.
HELD = ("decision_id", "symbol", "side", "risk", "notional", "cluster")
as_journaled = attrgetter(*HELD)


@dataclass(frozen=True)
class Desk:
    """Where a batch is traded: whose book, under which cycle, with which instruments."""

    session: Session
    cycle_id: str
    book: str
    listed: Mapping[str, Instrument]
    parties: Parties
    at: datetime
    #: Whether the caller's transaction holds the lock on the book.
    locked: bool = False


def open_trades(batch: Batch, desk: Desk, directive: Directive | None) -> None:
    """Reserve, ask governance, send, and see the stop rest; the rest are stopped by name."""
    rows = batch.open_rows()
    if not len(rows):
        return
    verdicts = desk.parties.ask(
        "trading.portfolio_balancer", lambda pba: _reserve(pba, batch, desk, directive, rows)
    )
    if verdicts is None:
        batch.stop(rows, "PBA_AWAY")
        return
    place = batch.panel.places
    denied: dict[str, list[int]] = {}
    for verdict in verdicts:
        row = place[verdict.candidate.symbol]
        if verdict.code:
            denied.setdefault(verdict.code, []).append(row)
            continue
        rule = _open_one(batch, desk, row, verdict.candidate.decision_id)
        batch.stop([row], rule)
        if rule != OPENED:
            _release(desk, verdict.candidate.decision_id)
    for code, stopped in denied.items():
        batch.stop(stopped, code)


def _release(desk: Desk, decision: str) -> None:
    desk.parties.ask("trading.portfolio_balancer", lambda pba: pba.release(desk.session, decision))


@dataclass(frozen=True)
class Asking:
    """A question to the balancer: whom, for which cycle, on which book, under which directive."""

    pba: Any
    session: Session
    cycle_id: str
    book: Book
    directive: Directive | None
    listed: Mapping[str, Instrument]


def _reserve(
    pba: Any, batch: Batch, desk: Desk, directive: Directive | None, rows: NDArray[np.intp]
) -> list[Any]:
    book = store.book_of(desk.session, desk.book, lock=not desk.locked)
    asking = Asking(pba, desk.session, desk.cycle_id, book, directive, desk.listed)
    return ask_for_room(batch, asking, rows)


def ask_for_room(batch: Batch, asking: Asking, rows: NDArray[np.intp]) -> list[Any]:
    """Size the rows that are left and ask the balancer; returns its verdicts."""
    from homeostat.trading import portfolio_balancer as balancer

    limits = balancer.Limits()
    scale = 1.0
    if asking.directive is not None:
        limits = limits.under(asking.directive)
        scale = asking.directive.scale_position_sizes
    pba, session, book = asking.pba, asking.session, asking.book
    symbols = batch.panel.symbols
    risk, notional = balancer.sizes(book.equity, batch.barriers[1, rows], scale, limits)
    batch.size[rows] = notional / batch.panel.close[rows, -1]
    code, held = pba.shut(session, book.name, book.equity, limits)
    batch.told["book"] = {
        "equity": book.equity,
        "held": [as_journaled(one) for one in held.rows],
        "limits": vars(limits),
    }
    if code:
        # A full book denies everybody alike; nobody has to be ranked for that.
        if code != "CRITICAL_VIOLATIONS":
            denied = [row for row in rows.tolist() if symbols[row] in held.symbols]
            batch.stop(denied, "POSITION_ALREADY_OPEN")
        batch.stop(rows, code)
        return []
    listed = [asking.listed[symbols[row]] for row in rows.tolist()]
    merits = pba.merits(session, batch.panel, rows, batch.barriers[1, rows], listed)
    batch.told["book"]["merits"] = {
        one.symbol: list(merit) for one, merit in zip(listed, merits, strict=True)
    }
    wishes = [
        balancer.Candidate(
            decision_id(asking.cycle_id, symbols[row]), symbols[row], *values, *merit
        )
        for merit, row, *values in zip(
            merits,
            rows.tolist(),
            batch.signals.side[rows].tolist(),
            risk.tolist(),
            notional.tolist(),
            rows.tolist(),
            batch.signals.confidence[rows].tolist(),
            strict=True,
        )
    ]
    moves = balancer.Moves(symbols, batch.panel.log_returns)
    verdicts: list[Any] = pba.reserve(session, book, wishes, limits, moves)
    return verdicts


def _open_one(batch: Batch, desk: Desk, row: int, decision: str) -> str:
    session, symbol = desk.session, batch.panel.symbols[row]
    allowed = desk.parties.ask(
        "kernels.governance",
        lambda one: one.decide(
            session, action="trade.open", risk="medium", actor=FLOW, subject=decision
        ),
    )
    if allowed is None:
        return "GOVERNANCE_AWAY"
    if not allowed.allowed:
        return "GOVERNANCE_REFUSED"
    side, price = int(batch.signals.side[row]), float(batch.panel.close[row, -1])
    quantity = float(batch.size[row])
    wanted = venue.Wanted(decision, desk.book, desk.listed[symbol], "ENTRY", side, quantity, price)
    order = venue.send(session, None, wanted)
    if order.state not in venue.ACCEPTED or order.price is None:
        return "ORDER_REJECTED"
    position = _position(batch, desk, row, decision, order.price, order.quantity, order.fee)
    position.mark = price
    session.add(position)
    store.book_of(session, desk.book).equity -= order.fee
    venue.rest(session, position, "STOP", position.stop)
    venue.rest(session, position, "TAKE_PROFIT", position.take_profit)
    if venue.resting(session, position) != position.stop:
        # An entry whose stop does not rest is worse than none.
        venue.close(session, position, price, "NO_RESTING_STOP", desk.listed[symbol])
        return "NO_RESTING_STOP"
    batch.opened.append(position)
    return OPENED


def _position(
    batch: Batch, desk: Desk, row: int, decision: str, price: float, quantity: float, fee: float
) -> Position:
    side = int(batch.signals.side[row])
    take, stop, trail, partial = batch.barriers[:, row].tolist()
    return Position(
        decision_id=decision,
        book=desk.book,
        symbol=batch.panel.symbols[row],
        model=batch.signals.model,
        cluster=row,
        side=side,
        quantity=quantity,
        first_quantity=quantity,
        entry=price,
        stop=price * (1 - side * stop),
        take_profit=price * (1 + side * take),
        trail=trail,
        partial=partial,
        risk_per_unit=price * stop,
        confidence=float(batch.signals.confidence[row]),
        costs=fee,
        marked_at=desk.at,
        opened_at=desk.at,
        **_BEGINNING,
    )


_BEGINNING: dict[str, Any] = {
    "partial_taken": False,
    "peak_r": 0.0,
    "adds": 0,
    "bars": 0,
    "label": "SAFE",
    "pending_label": "SAFE",
    "advice": "HOLD",
    "realised": 0.0,
    "exit_rule": "",
}

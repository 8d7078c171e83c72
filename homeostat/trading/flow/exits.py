"""What happens to open positions: bars, labels, adds, exits, and what is learnt from the end.

Nothing here reads a directive, a universe or governance to close a position. Only an add, which
is an entry, is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from homeostat.store import trading as store
from homeostat.store.trading import Position
from homeostat.trading import venue
from homeostat.trading.flow.parties import FLOW, Parties
from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel
from homeostat.trading.venue import Closed

_PRICES = ("open", "high", "low", "close")
#: Bars that the trend of a position is read from, and the recent and usual volatility.
_TREND, _RECENT, _USUAL = 10, 15, 120


@dataclass
class Exits:
    """What became of the open positions in one cycle."""

    closed: list[Closed] = field(default_factory=list)
    adds: int = 0
    reduced: int = 0
    unpriced: list[str] = field(default_factory=list)


def manage(
    session: Session,
    book: str,
    panel: Panel,
    listed: Mapping[str, Instrument],
    parties: Parties,
    mode: str,
    *,
    may_add: bool,
) -> Exits:
    """Let every bar that closed since happen to each open position, and act on the advice."""
    done = Exits()
    for position in store.open_positions(session, book):
        if position.symbol not in panel.symbols:
            done.unpriced.append(position.symbol)
            continue
        row = panel.symbols.index(position.symbol)
        instrument = listed[position.symbol]
        closed = _bars(session, position, panel, row, instrument)
        if closed is None:
            closed = _act(session, position, panel, row, instrument, parties, mode, done, may_add)
        if closed is not None:
            done.closed.append(closed)
            finish(session, closed, parties)
    return done


def _bars(
    session: Session, position: Position, panel: Panel, row: int, instrument: Instrument
) -> Closed | None:
    first = int(np.searchsorted(panel.times, position.marked_at.timestamp() - BAR_S, side="right"))
    for column in range(first, len(panel.times)):
        prices = {name: float(getattr(panel, name)[row, column]) for name in _PRICES}
        if not all(np.isfinite(price) for price in prices.values()):
            continue
        bar = venue.bar_of(prices, float(panel.times[column]))
        if closed := venue.advance(session, position, bar, instrument):
            return closed
    return None


def _act(
    session: Session,
    position: Position,
    panel: Panel,
    row: int,
    instrument: Instrument,
    parties: Parties,
    mode: str,
    done: Exits,
    may_add: bool,  # noqa: FBT001  # passed on as it came
) -> Closed | None:
    """Ask for label and advice, and carry out what the highest authority wants."""
    close = panel.close[row]
    trend = float(close[-1] - close[-1 - _TREND]) if len(close) > _TREND else 0.0
    price = position.mark
    parties.consult(
        "trading.position_intelligence",
        lambda pil: pil.classify(position, pil.sight(position, price, trend)),
    )
    if position.advice == "EXIT":
        return venue.close(session, position, price, "PIL_EXIT", instrument)
    if position.advice == "REDUCE":
        before = position.quantity
        venue.reduce(session, position, before / 2, price, instrument, "REDUCE")
        done.reduced += position.quantity < before
    elif position.advice == "TIGHTEN_SL":
        venue.move_stop(session, position, (position.stop + price) / 2)
    elif position.label == "WINNER":
        proposal = _propose(position, close, price, parties, mode)
        if proposal is not None and proposal.move == "PARTIAL" and not position.partial_taken:
            venue.reduce(session, position, proposal.quantity, price, instrument, "PARTIAL")
            position.partial_taken = True
            done.reduced += 1
        if proposal is not None and proposal.move == "ADD" and may_add:
            done.adds += add(session, position, proposal, price, instrument, parties)
    return None


def _propose(position: Position, close: Floats, price: float, parties: Parties, mode: str) -> Any:
    """Ask PAL about a winner; its answer has `move`, `quantity` and `stop`."""
    from homeostat.trading.profit_amplification import Sight, Volatility

    steps = np.diff(np.log(close[-_USUAL:]))
    usual = float(np.nanstd(steps)) or 1e-12
    wild = float(np.nanstd(steps[-_RECENT:])) / usual
    volatility = (
        Volatility.LOW if wild < 0.7 else Volatility.HIGH if wild > 1.5 else Volatility.NORMAL
    )
    r = position.side * (price - position.entry) / position.risk_per_unit
    recent = position.side * np.diff(close[-_TREND - 1 :])
    sight = Sight(
        r=r,
        trend=float((recent > 0).mean()) if len(recent) else 0.0,
        rank=100 * (1 - position.confidence),
        volatility=volatility,
        drawdown=1 - r / position.peak_r if position.peak_r > 0 else 0.0,
    )
    return parties.consult(
        "trading.profit_amplification", lambda pal: pal.analyse(position, price, sight, mode)
    )


def add(
    session: Session,
    position: Position,
    proposal: Any,
    price: float,
    instrument: Instrument,
    parties: Parties,
) -> bool:
    """Add to a winner, if the balancer has room and governance allows it; the stop moves first."""
    quantity, stop = float(proposal.quantity), float(proposal.stop)
    first_risk = position.first_quantity * position.risk_per_unit
    code = parties.ask(
        "trading.portfolio_balancer",
        lambda pba: pba.add(session, position, first_risk, quantity * price),
    )
    if code is None or code:
        return False
    decision = parties.ask(
        "kernels.governance",
        lambda one: one.decide(
            session, action="trade.add", risk="medium", actor=FLOW, subject=position.decision_id
        ),
    )
    if decision is None or not decision.allowed:
        return False
    order = venue.send(
        session,
        position,
        decision=position.decision_id,
        book=position.book,
        instrument=instrument,
        kind=f"ADD{position.adds + 1}",
        side=position.side,
        quantity=quantity,
        price=price,
    )
    if order.state != "FILLED" or order.price is None:
        return False
    whole = position.quantity + order.quantity
    position.entry = (position.quantity * position.entry + order.quantity * order.price) / whole
    position.quantity, position.adds = whole, position.adds + 1
    position.costs += order.fee
    store.book_of(session, position.book).equity -= order.fee
    venue.move_stop(session, position, stop)
    venue.rest(session, position, "STOP", position.stop)
    return True


def finish(session: Session, closed: Closed, parties: Parties) -> None:
    """Give the reservation back, and tell universe and supervisor what came of the trade."""
    from homeostat.trading.model_supervisor import Outcome

    position = closed.position
    parties.ask(
        "trading.portfolio_balancer", lambda pba: pba.release(session, position.decision_id)
    )
    parties.ask(
        "trading.universe_os", lambda one: one.record_result(session, position.symbol, closed.r)
    )
    outcome = Outcome(
        position.decision_id,
        position.model,
        position.symbol,
        position.side,
        position.confidence,
        closed.r,
    )
    parties.ask("trading.model_supervisor", lambda one: one.learn(session, outcome))

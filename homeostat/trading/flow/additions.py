"""Adding to winners: an add is an entry, so it passes the balancer's rules and governance."""

from __future__ import annotations

from typing import Any

import numpy as np

from homeostat.store import trading as store
from homeostat.store.trading import Position, client_order_id
from homeostat.trading import venue
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.opening import as_journaled
from homeostat.trading.flow.parties import FLOW, Parties
from homeostat.trading.market.panel import Floats, Instrument

#: Bars of the trend, and of the recent and usual volatility.
_TREND, _RECENT, _USUAL = 10, 15, 120


def propose(position: Position, close: Floats, parties: Parties, mode: str) -> Any:
    """Ask PAL about a winner; its answer has `move`, `quantity` and `stop`."""
    from homeostat.trading.profit_amplification import Sight, Volatility

    price = position.mark
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


def add(floor: Floor, position: Position, proposal: Any, instrument: Instrument) -> bool:
    """Add to a winner, if the balancer has room and governance allows it."""
    known = client_order_id(position.decision_id, _kind(position))
    if not venue.takes_adds(position.book) or store.order_of(floor.session, known) is not None:
        # What was refused once under its id is not asked for again with every bar.
        return False
    growth = floor.parties.ask(
        "trading.portfolio_balancer", lambda pba: _room(pba, floor, position, proposal)
    )
    if growth is None or growth.code:
        return False
    if _allowed(floor, position) and _filled(floor, position, proposal, instrument):
        return True
    floor.parties.ask(
        "trading.portfolio_balancer",
        lambda pba: pba.withdraw(floor.session, position.decision_id, growth),
    )
    return False


def _kind(position: Position) -> str:
    """Return the kind of the order that is the position's next add."""
    return f"ADD{position.adds + 1}"


def _room(pba: Any, floor: Floor, position: Position, proposal: Any) -> Any:
    """Ask the balancer under the limits that an entry would have at this moment."""
    from homeostat.trading import portfolio_balancer as balancer

    directive, limits = floor.ground.directive, balancer.Limits()
    if directive is not None:
        limits = limits.under(directive)
    first_risk = position.first_quantity * position.risk_per_unit
    notional = float(proposal.quantity) * position.mark
    moves = balancer.Moves(floor.panel.symbols, floor.panel.log_returns)
    # Who manages positions holds the lock on their book.
    book = store.book_of(floor.session, position.book)
    growth = pba.add(floor.session, position, first_risk, notional, limits, moves, book=book)
    if growth is not None:
        held = [as_journaled(one) for one in growth.held]
        floor.asked[position.decision_id] = {"equity": book.equity, "held": held}
    return growth


def _allowed(floor: Floor, position: Position) -> bool:
    subject = position.decision_id
    decision = floor.parties.ask(
        "kernels.governance",
        lambda one: one.decide(
            floor.session, action="trade.add", risk="medium", actor=FLOW, subject=subject
        ),
    )
    return decision is not None and bool(decision.allowed)


def _filled(floor: Floor, position: Position, proposal: Any, instrument: Instrument) -> bool:
    """Send the add, enlarge the position by what was filled, and move its stop.

    The proposal's stop was reckoned from the price; what is filled costs slippage besides, and
    the whole may risk no more than the first entry all the same.
    """
    from homeostat.trading.profit_amplification import stop_after_add

    session = floor.session
    wanted = venue.Wanted(
        position.decision_id,
        position.book,
        instrument,
        _kind(position),
        position.side,
        float(proposal.quantity),
        position.mark,
    )
    order = venue.send(session, position, wanted)
    if order.state != "FILLED" or order.price is None:
        return False
    stop = stop_after_add(position, order.quantity, order.price)
    whole = position.quantity + order.quantity
    position.entry = (position.quantity * position.entry + order.quantity * order.price) / whole
    position.quantity, position.adds = whole, position.adds + 1
    position.costs += order.fee
    store.book_of(session, position.book).equity -= order.fee
    venue.move_stop(session, position, stop)
    venue.rest(session, position, "STOP", position.stop)
    return True

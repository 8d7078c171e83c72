"""What happens to open positions: bars, labels, adds, exits, and what is learnt from the end.

Nothing here needs a directive, a universe or governance to close a position. Only an add, which
is an entry, is asked for. Where several want different things, the table of authority decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from homeostat.store import trading as store
from homeostat.store.trading import Position
from homeostat.trading import venue
from homeostat.trading.authority import Claim, Ruling, Wants, rule_on
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import FLOW, Parties
from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel
from homeostat.trading.market.spread import widths
from homeostat.trading.venue import Closed

_PRICES = ("open", "high", "low", "close")
#: Bars that the trend of a position is read from, and the recent and usual volatility.
_TREND, _RECENT, _USUAL = 10, 15, 120
#: What the advice of position intelligence asks for; the rest of it is no demand.
_PIL_WANTS = {"EXIT": Wants.EXIT, "REDUCE": Wants.REDUCE, "TIGHTEN_SL": Wants.TIGHTEN_SL}
_PAL_WANTS = {"ADD": Wants.ADD, "EXTEND": Wants.EXTEND, "PARTIAL": Wants.PARTIAL}


@dataclass
class Exits:
    """What became of the open positions in one cycle."""

    closed: list[Closed] = field(default_factory=list)
    held: list[Position] = field(default_factory=list)
    adds: int = 0
    reduced: int = 0
    overruled: int = 0
    unpriced: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Floor:
    """What the open positions are managed with."""

    session: Session
    panel: Panel
    listed: Mapping[str, Instrument]
    parties: Parties
    ground: Ground


def manage(floor: Floor, book: str) -> Exits:
    """Let every bar that closed since happen to each open position, and act on the ruling."""
    done = Exits()
    places = {symbol: row for row, symbol in enumerate(floor.panel.symbols)}
    positions = store.open_positions(floor.session, book)
    spreads = _spreads(floor, {one.symbol for one in positions} & places.keys(), places)
    for position in positions:
        row = places.get(position.symbol)
        if row is None:
            done.unpriced.append(position.symbol)
            done.held.append(position)
            continue
        closed = _bars(floor, position, row)
        if closed is None:
            closed = _act(floor, position, row, spreads[position.symbol], done)
        if closed is None:
            done.held.append(position)
        else:
            done.closed.append(closed)
            finish(floor.session, closed, floor.parties)
    return done


def _spreads(floor: Floor, symbols: set[str], places: Mapping[str, int]) -> dict[str, float]:
    """Return the present spread of these symbols in their usual widths."""
    if not symbols:
        return {}
    usual = np.array([floor.listed[symbol].half_spread for symbol in symbols])
    found = widths(floor.panel, [places[symbol] for symbol in symbols], usual)
    return dict(zip(symbols, found.tolist(), strict=True))


def _bars(floor: Floor, position: Position, row: int) -> Closed | None:
    panel = floor.panel
    first = int(np.searchsorted(panel.times, position.marked_at.timestamp() - BAR_S, side="right"))
    instrument = floor.listed[position.symbol]
    columns = [getattr(panel, name)[row, first:].tolist() for name in _PRICES]
    for time, *values in zip(panel.times[first:].tolist(), *columns, strict=True):
        if not all(map(isfinite, values)):
            continue
        bar = venue.bar_of(dict(zip(_PRICES, values, strict=True)), float(time))
        if closed := venue.advance(floor.session, position, bar, instrument):
            return closed
    return None


def _act(floor: Floor, position: Position, row: int, spread: float, done: Exits) -> Closed | None:
    """Ask everybody, rule by authority, and carry out the ruling."""
    close = floor.panel.close[row]
    trend = float(close[-1] - close[-1 - _TREND]) if len(close) > _TREND else 0.0
    floor.parties.consult(
        "trading.position_intelligence",
        lambda pil: pil.classify(position, pil.sight(position, position.mark, trend, spread)),
    )
    ruling = rule_on(_claims(floor, position, close))
    done.overruled += len(ruling.overruled)
    return _carry_out(floor, position, ruling, done)


def _claims(floor: Floor, position: Position, close: Floats) -> Iterator[Claim]:
    """Yield what each authority wants of the position; the balancer is asked before an add."""
    symbol = position.symbol
    yield from floor.ground.claims(symbol)
    wants = _PIL_WANTS.get(position.advice)
    # A loser is halved once; what is left of it runs to its stop or its time.
    halved = wants is Wants.REDUCE and position.quantity <= position.first_quantity / 2
    if wants is not None and not halved:
        yield Claim("PIL", symbol, wants, position.label)
    if position.label == "WINNER":
        proposal = _propose(position, close, floor.parties, floor.ground.mode)
        move = _PAL_WANTS.get(str(proposal.move)) if proposal is not None else None
        if move is not None and not (move is Wants.PARTIAL and position.partial_taken):
            yield Claim("PAL", symbol, move, f"score {proposal.score:.0f}", proposal)


def _carry_out(floor: Floor, position: Position, ruling: Ruling, done: Exits) -> Closed | None:
    session, price = floor.session, position.mark
    claim, instrument = ruling.stands, floor.listed[position.symbol]
    if claim is None:
        return None
    if claim.wants is Wants.EXIT:
        rule = "PIL_EXIT" if claim.authority == "PIL" else f"SAFETY_{claim.why}"
        return venue.close(session, position, price, rule, instrument)
    if claim.wants is Wants.REDUCE:
        before = position.quantity
        kind = "REDUCE" if claim.authority == "PIL" else "SAFETY_REDUCE"
        venue.reduce(session, position, before / 2, price, instrument, kind)
        done.reduced += position.quantity < before
    elif claim.wants is Wants.TIGHTEN_SL:
        venue.move_stop(session, position, (position.stop + price) / 2)
    elif claim.wants is Wants.PARTIAL:
        venue.reduce(session, position, claim.detail.quantity, price, instrument, "PARTIAL")
        position.partial_taken = True
        done.reduced += 1
    elif claim.wants is Wants.ADD:
        done.adds += add(session, position, claim.detail, price, instrument, floor.parties)
    elif claim.wants is Wants.EXTEND:
        position.advice = "EXTEND_HOLD"
    return None


def _propose(position: Position, close: Floats, parties: Parties, mode: str) -> Any:
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


def add(
    session: Session,
    position: Position,
    proposal: Any,
    price: float,
    instrument: Instrument,
    parties: Parties,
) -> bool:
    """Add to a winner, if the balancer has room and governance allows it."""
    if not venue.takes_adds(position.book):
        return False
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

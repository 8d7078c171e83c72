"""What happens to open positions: bars, labels, adds, exits, and what is learnt from the end.

Nothing here needs a directive, a universe or governance to close a position. Only an add, which
is an entry, is asked for. Where several want different things, the table of authority decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite

import numpy as np
from sqlalchemy.orm import Session

from homeostat.store import trading as store
from homeostat.store.trading import Order, Position, client_order_id
from homeostat.trading import venue
from homeostat.trading.authority import Claim, Ruling, Wants, rule_on
from homeostat.trading.flow import additions
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import BAR_S, Floats, Panel
from homeostat.trading.market.spread import widths
from homeostat.trading.venue import Closed

__all__ = ["DEFENCE_R", "Exits", "Floor", "defended", "finish", "manage"]

#: Bars that the trend of a position is read from.
_TREND = 10
#: What the advice of position intelligence asks for; the rest of it is no demand.
_PIL_WANTS = {"EXIT": Wants.EXIT, "REDUCE": Wants.REDUCE, "TIGHTEN_SL": Wants.TIGHTEN_SL}
#: The distance in R from the price to which a stop is tightened, by DEFENSIVE_EXIT or PIL. A stop
#: that were brought nearer with every bar would soon stand within the noise of one.
DEFENCE_R = 0.5
SAFETY_REDUCE = "SAFETY_REDUCE"
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


def manage(floor: Floor, book: str) -> Exits:
    """Let every bar that closed since happen to each open position, and act on the ruling."""
    done = Exits()
    places = floor.panel.places
    taken = store.take_open(floor.session, book)
    spreads = _spreads(floor, {one.symbol for one, _ in taken} & places.keys(), places)
    bars = _Bars(floor.panel, [one.marked_at for one, _ in taken])
    for position, slipped in taken:
        row = places.get(position.symbol)
        if row is None:
            done.unpriced.append(position.symbol)
            done.held.append(position)
            continue
        seen = position.bars
        closed = _live_through(floor, position, bars.of(row))
        if closed is None:
            # A bar that was seen before is no second one to say the same.
            if position.bars > seen:
                _label(floor, position, row, spreads[position.symbol], slipped)
            closed = _act(floor, position, row, done)
        if closed is None:
            done.held.append(position)
        else:
            done.closed.append(closed)
            finish(floor.session, closed, floor.parties)
    store.put_back(floor.session, (one for one, _ in taken))
    return done


def _spreads(floor: Floor, symbols: set[str], places: Mapping[str, int]) -> dict[str, float]:
    """Return the present spread of these symbols in their usual widths."""
    if not symbols:
        return {}
    usual = np.array([floor.listed[symbol].half_spread for symbol in symbols])
    found = widths(floor.panel, [places[symbol] for symbol in symbols], usual)
    return dict(zip(symbols, found.tolist(), strict=True))


class _Bars:
    """The bars that are new to any of these positions; a position passes over what it has seen."""

    def __init__(self, panel: Panel, marked: Iterable[datetime]) -> None:
        oldest = min((one.timestamp() for one in marked), default=0.0)
        first = panel.times.searchsorted(oldest - BAR_S, side="right")
        self._times = panel.times[first:].tolist()
        prices = (panel.open, panel.high, panel.low, panel.close)
        self._prices = [one[:, first:] for one in prices]

    def of(self, row: int) -> Iterator[venue.Bar]:
        """Yield those of one row, oldest first; a bar that misses a price is none."""
        columns = [one[row].tolist() for one in self._prices]
        for time, *values in zip(self._times, *columns, strict=True):
            if all(map(isfinite, values)):
                yield venue.bar_of(time, *values)


def _live_through(floor: Floor, position: Position, bars: Iterator[venue.Bar]) -> Closed | None:
    """Let the bars happen to a position; returns how one of them closed it, or None."""
    instrument = floor.listed[position.symbol]
    for bar in bars:
        if closed := venue.advance(floor.session, position, bar, instrument):
            return closed
    return None


def _label(floor: Floor, position: Position, row: int, spread: float, slipped: float) -> None:
    """Let position intelligence see the newest bar; `slipped` is what its fills lost in money."""
    close = floor.panel.close[row]
    trend = float(close[-1] - close[-1 - _TREND]) if len(close) > _TREND else 0.0
    floor.parties.consult(
        "trading.position_intelligence",
        lambda pil: pil.classify(
            position, pil.sight(position, position.mark, trend, spread, slipped)
        ),
    )


def _act(floor: Floor, position: Position, row: int, done: Exits) -> Closed | None:
    """Ask everybody, rule by authority, and carry out the ruling."""
    claims = list(_claims(floor, position, floor.panel.close[row]))
    if not claims:
        return None
    ruling = rule_on(claims)
    done.overruled += len(ruling.overruled)
    return _carry_out(floor, position, ruling, done)


def _claims(floor: Floor, position: Position, close: Floats) -> Iterator[Claim]:
    """Yield what each authority wants of the position and has not got yet.

    Who has what he wants is heard no more: a stop that is tight, or a half that was taken, would
    otherwise overrule the exits of all below for as long as the policy holds.
    """
    symbol = position.symbol
    for claim in floor.ground.claims(symbol):
        if not _has(floor, position, claim):
            yield claim
    wants = _PIL_WANTS.get(position.advice)
    if wants is not None:
        claim = Claim("PIL", symbol, wants, position.label)
        if not _has(floor, position, claim):
            yield claim
    if position.label == "WINNER":
        proposal = additions.propose(position, close, floor.parties, floor.ground.mode)
        move = _PAL_WANTS.get(str(proposal.move)) if proposal is not None else None
        if move is not None and not (move is Wants.PARTIAL and position.partial_taken):
            yield Claim("PAL", symbol, move, f"score {proposal.score:.0f}", proposal)


def _has(floor: Floor, position: Position, claim: Claim) -> bool:
    """Return whether the position is already as the claim wants it."""
    if claim.wants is Wants.TIGHTEN_SL:
        return position.side * (defended(position) - position.stop) <= 0
    if claim.wants is not Wants.REDUCE:
        return False
    if claim.authority == "PIL":
        # A loser is halved once; what is left of it runs to its stop or its time.
        return position.quantity <= position.first_quantity / 2
    known = floor.session.get(Order, client_order_id(position.decision_id, SAFETY_REDUCE))
    return known is not None and known.state != "REJECTED"


def defended(position: Position) -> float:
    """Return the stop that a tightening asks for: `DEFENCE_R` from the present price."""
    return position.mark - position.side * DEFENCE_R * position.risk_per_unit


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
        kind = "REDUCE" if claim.authority == "PIL" else SAFETY_REDUCE
        venue.reduce(session, position, before / 2, price, instrument, kind)
        done.reduced += position.quantity < before
    elif claim.wants is Wants.TIGHTEN_SL:
        venue.move_stop(session, position, defended(position))
    elif claim.wants is Wants.PARTIAL:
        venue.reduce(session, position, claim.detail.quantity, price, instrument, "PARTIAL")
        position.partial_taken = True
        done.reduced += 1
    elif claim.wants is Wants.ADD:
        done.adds += additions.add(floor, position, claim.detail, instrument)
    elif claim.wants is Wants.EXTEND:
        position.advice = "EXTEND_HOLD"
    return None


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

"""Which winners to add to, extend or take partly, without ever risking more than the first 1 R.

An add moves the stop of the whole position: what is then at risk is no more than what was at
risk with the first entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import trading as store
from homeostat.store.trading import Position

#: Only near its peak is a winner added to.
NEAR_PEAK = 0.8
MOST_ADDS = 2
ADD_SHARE = 0.5
#: Points from which a winner is added to, and from which it is given more time.
ADD_SCORE, EXTEND_SCORE = 60.0, 45.0
#: A winner this high in a wild market is taken partly.
PARTIAL_R = 3.0
MODES = frozenset({"NORMAL", "AGGRESSIVE"})


class Volatility(StrEnum):
    """How wild the symbol is against its own usual."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


_VOLATILITY_POINTS = {Volatility.LOW: 1.0, Volatility.NORMAL: 0.8, Volatility.HIGH: 0.4}


class Move(StrEnum):
    """What is proposed."""

    NONE = "NONE"
    ADD = "ADD"
    EXTEND = "EXTEND"
    PARTIAL = "PARTIAL"


@dataclass(frozen=True)
class Sight:
    """A winner at one moment. `trend` is 0 to 1, `rank` 0 (best) to 100, `drawdown` the share of
    the peak R that was given back.
    """

    r: float
    trend: float
    rank: float
    volatility: Volatility
    drawdown: float = 0.0


@dataclass(frozen=True)
class Proposal:
    """What is proposed for a position; the balancer is asked before an add is done."""

    move: Move
    score: float
    quantity: float = 0.0
    stop: float = 0.0
    why: str = ""


def score_of(sight: Sight) -> float:
    """Return 0 to 100 points: result, trend, steadiness, rank and calm."""
    steadiness = 1 - min(max(sight.drawdown, 0.0), 0.5) / 0.5
    return (
        30 * min(max(sight.r, 0.0) / 5, 1)
        + 25 * min(max(sight.trend, 0.0), 1)
        + 20 * steadiness
        + 15 * (1 - min(max(sight.rank, 0.0), 100.0) / 100)
        + 10 * _VOLATILITY_POINTS[sight.volatility]
    )


def stop_after_add(position: Position, quantity: float, price: float) -> float:
    """Return the stop at which the enlarged position risks no more than the first entry did."""
    whole = position.quantity + quantity
    average = (position.quantity * position.entry + quantity * price) / whole
    first_risk = position.first_quantity * position.risk_per_unit
    needed = average - position.side * first_risk / whole
    # A stop is never loosened.
    return max(needed, position.stop) if position.side > 0 else min(needed, position.stop)


def propose(position: Position, price: float, sight: Sight, mode: str) -> Proposal:
    """Return what to do with the position at this price, and why nothing where it is nothing."""
    score = score_of(sight)
    if position.label != "WINNER":
        return Proposal(Move.NONE, score, why="it is not a winner")
    if mode not in MODES:
        return Proposal(Move.NONE, score, why=f"the mode is {mode}")
    if sight.r < NEAR_PEAK * position.peak_r:
        return Proposal(Move.NONE, score, why="it is below 80 % of its peak")
    if sight.r >= PARTIAL_R and sight.volatility is Volatility.HIGH:
        return Proposal(Move.PARTIAL, score, quantity=position.partial * position.quantity)
    if score >= ADD_SCORE and position.adds < MOST_ADDS:
        quantity = ADD_SHARE * position.first_quantity
        stop = stop_after_add(position, quantity, price)
        if position.side * (price - stop) > 0:
            return Proposal(Move.ADD, score, quantity, stop)
    if score >= EXTEND_SCORE:
        return Proposal(Move.EXTEND, score)
    return Proposal(Move.NONE, score, why=f"its score is {score:.0f}")


class ProfitAmplification(Component):
    """Finds winners to add to, extend or take partly."""

    spec = ComponentSpec(
        name="profit_amplification",
        wing=Wing.TRADING,
        tier=6,
        summary="Finds winners to add to, extend or take partly within the first risk.",
    )

    def analyse(self, position: Position, price: float, sight: Sight, mode: str) -> Proposal:
        """Return what to do with one position; pure, the flow carries it out."""
        return propose(position, price, sight, mode)

    def probe(self, session: Session) -> Evidence:
        """Propose for a planted winner and a planted loser, and weigh the risk after the add."""
        del session
        watch = Stopwatch()
        winner = _planted("WINNER", peak_r=1.5)
        price = winner.entry + 1.5 * winner.risk_per_unit
        sight = Sight(1.5, 1.0, 10, Volatility.NORMAL)
        found = propose(winner, price, sight, "NORMAL")
        other = propose(_planted("LOSER", peak_r=1.5), price, sight, "NORMAL")
        whole = winner.quantity + found.quantity
        average = (winner.quantity * winner.entry + found.quantity * price) / whole
        risk = whole * (average - found.stop)
        first = winner.first_quantity * winner.risk_per_unit
        return Evidence(
            claim="a winner is added to within its first risk, and a loser is not",
            passed=found.move is Move.ADD and other.move is Move.NONE and risk <= first + 1e-9,
            observed={"move": found.move, "loser": other.move, "risk": risk, "first_risk": first},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Look over the winners: how many could still be added to."""
        del due_at
        positions = store.open_positions(session, store.PAPER)
        winners = [one for one in positions if one.label == "WINNER"]
        version = store.acknowledge(session, self.spec.full_name)
        return CycleResult(
            work=1 + len(positions),
            observed={
                "positions": len(positions),
                "winners": [one.symbol for one in winners],
                "open_to_adds": sum(one.adds < MOST_ADDS for one in winners),
                "directive": version,
            },
        )


def _planted(label: str, peak_r: float) -> Position:
    return Position(
        label=label,
        side=1,
        quantity=10.0,
        first_quantity=10.0,
        entry=100.0,
        stop=98.0,
        risk_per_unit=2.0,
        peak_r=peak_r,
        adds=0,
        partial=0.5,
    )

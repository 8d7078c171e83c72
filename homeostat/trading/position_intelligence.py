"""What each open position is: a winner, a loser, toxic, or safe; and what to do about it.

Everything is in R, the initial risk. A label changes only when two bars in a row say the same,
and the peak is persisted, so a restart forgets neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.store import trading as store
from homeostat.store.trading import Position
from homeostat.trading.market import port

WINNER_R, TOXIC_R, LOSER_R = 1.0, -0.7, -0.5
#: A loss as deep as TOXIC_R within this many bars is no ordinary loss.
TOXIC_BARS = 15
#: Funding, fees and slippage above this share of the risk eat the trade.
TOXIC_COSTS = 0.30
#: The spread has blown out at this many times its usual width.
SPREAD_BLOW_OUT = 5.0
TREND_BARS = 10


class Label(StrEnum):
    """What a position is."""

    WINNER = "WINNER"
    LOSER = "LOSER"
    TOXIC = "TOXIC"
    SAFE = "SAFE"


class Advice(StrEnum):
    """What to do about it."""

    HOLD = "HOLD"
    SCALE_IN = "SCALE_IN"
    REDUCE = "REDUCE"
    EXIT = "EXIT"
    TIGHTEN_SL = "TIGHTEN_SL"
    EXTEND_HOLD = "EXTEND_HOLD"


@dataclass(frozen=True)
class Sight:
    """One position at one bar. `costs` and `r` are in R; `spread` in its usual widths."""

    r: float
    peak_r: float
    bars: int
    costs: float
    trend_up: bool
    spread: float = 1.0


def label_of(sight: Sight) -> Label:
    """Return the label that this bar alone would give."""
    if sight.r >= WINNER_R and sight.trend_up:
        return Label.WINNER
    fast = sight.r <= TOXIC_R and sight.bars <= TOXIC_BARS
    if fast or sight.costs > TOXIC_COSTS or sight.spread >= SPREAD_BLOW_OUT:
        return Label.TOXIC
    return Label.LOSER if sight.r <= LOSER_R else Label.SAFE


def advice_for(label: Label, sight: Sight) -> Advice:
    """Return what to do about a position of that label."""
    if label is Label.TOXIC:
        return Advice.EXIT
    if label is Label.LOSER:
        return Advice.REDUCE
    near_peak = sight.r >= 0.8 * sight.peak_r
    if label is Label.WINNER:
        if not near_peak:
            return Advice.TIGHTEN_SL
        return Advice.SCALE_IN if sight.r < 3.0 else Advice.EXTEND_HOLD
    # A position that once was up by 1 R and gave half of it back is worth protecting.
    gave_back = sight.peak_r >= WINNER_R and sight.r < 0.5 * sight.peak_r
    return Advice.TIGHTEN_SL if gave_back else Advice.HOLD


def r_of(position: Position, price: float) -> float:
    """Return the position's result in R at a price."""
    return position.side * (price - position.entry) / position.risk_per_unit


class PositionIntelligence(Component):
    """Labels every open position and advises."""

    spec = ComponentSpec(
        name="position_intelligence",
        wing=Wing.TRADING,
        tier=6,
        summary="Labels each open position WINNER, LOSER, TOXIC or SAFE, and advises.",
    )

    def classify(self, position: Position, sight: Sight) -> Label:
        """Take one bar's sight into the position's label and advice, with hysteresis."""
        position.peak_r = max(position.peak_r, sight.r)
        seen = label_of(sight)
        if seen in {position.label, position.pending_label}:
            position.label = seen
        position.pending_label = seen
        label = Label(position.label)
        position.advice = advice_for(label, sight)
        return label

    def sight(
        self,
        position: Position,
        price: float,
        trend: float,
        spread: float = 1.0,
        slippage: float = 0.0,
    ) -> Sight:
        """Return what is to be seen of a position; `trend` is the price's change over 10 bars.

        `slippage` is what its fills lost against their prices, in money: the position's own costs
        are fees and funding, because its entry has the slippage in it already.
        """
        risk = position.risk_per_unit * position.first_quantity
        r = r_of(position, price)
        return Sight(
            r=r,
            peak_r=max(position.peak_r, r),
            bars=position.bars,
            costs=(position.costs + slippage) / risk,
            trend_up=position.side * trend > 0,
            spread=spread,
        )

    def probe(self, session: Session) -> Evidence:
        """Label four planted sights, and see that one bar alone moves no label."""
        del session
        watch = Stopwatch()
        sights = {
            "WINNER": Sight(1.2, 1.2, 20, 0.05, True),
            "TOXIC": Sight(-0.8, 0.1, 5, 0.05, False),
            "LOSER": Sight(-0.6, 0.1, 40, 0.05, False),
            "SAFE": Sight(0.3, 0.4, 10, 0.05, True),
        }
        seen = {name: label_of(sight).value for name, sight in sights.items()}
        planted = Position(label="SAFE", pending_label="SAFE", peak_r=0.0)
        first = self.classify(planted, sights["TOXIC"])
        second = self.classify(planted, sights["TOXIC"])
        return Evidence(
            claim="four planted positions get their labels, and only the second bar moves one",
            passed=all(name == label for name, label in seen.items())
            and (first, second) == (Label.SAFE, Label.TOXIC),
            observed={"labels": dict(seen), "after_one_bar": first, "after_two_bars": second},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Count what is held by label; the flow classifies at each bar, this looks it over."""
        panel = port.market(self.context.settings).panel(due_at, TREND_BARS + 1)
        positions = store.open_positions(session, store.PAPER)
        labels: dict[str, int] = {}
        stale = 0
        for position in positions:
            labels[position.label] = labels.get(position.label, 0) + 1
            stale += (due_at - position.marked_at).total_seconds() > port.FRESH_S
        version = store.acknowledge(session, self.spec.full_name)
        return CycleResult(
            work=1 + len(positions),
            observed={
                "positions": len(positions),
                "labels": dict(labels),
                "advice": {one.symbol: one.advice for one in positions},
                "not_marked_of_late": stale,
                "priced_symbols": len(panel.symbols),
                "directive": version,
            },
        )

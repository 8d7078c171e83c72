"""Derives a decision anew from the journal and the data, and says why it was taken.

What a model said and what the barriers were follow from the bars and the artefact alone; the
gates before and after are explained by the rule that stands in the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.errors import HomeostatError
from homeostat.settings import Settings
from homeostat.store.trading import PAPER, Decision, DecisionCycle, Order, Position, decision_id
from homeostat.trading import signals as agents
from homeostat.trading.dynamic_tpsl import expected_volatility, volatility_scaled
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S
from homeostat.trading.models import artifacts


class NoSuchDecisionError(HomeostatError):
    """No decision has that id; `homeostat trade decisions` lists them."""

    exit_code = 64


@dataclass(frozen=True)
class Replayed:
    """One decision derived anew; `differs` names what came out otherwise, empty where nothing."""

    id: str
    rule: str
    same: bool
    differs: str = ""


_WHY = {
    "OPENED": "every gate let it pass, its risk was reserved and its order filled",
    "BRAKE": "the emergency brake was on",
    "TRADING_PAUSED": "trading was paused",
    "NOT_IN_UNIVERSE": "the universe did not contain it",
    "NO_SIGNAL": "the model saw no side",
    "CONFIDENCE_FLOOR": "the model was not as sure as the directive asks",
    "BIAS_BLOCKED": "the model is one-sided, and that side is blocked",
    "DIRECTIVE_FORBIDS": "the directive in force allowed no new trades",
    "DIRECTIVE_EXPIRED": "the last directive had expired",
    "DIRECTIVE_MISSING": "there was no directive",
    "SAFETY_POLICY_MISSING": "there was no safety policy",
    "SAFETY_POLICY_EXPIRED": "the last safety policy had expired",
    "MAX_POSITIONS_REACHED": "as many positions as allowed were open",
    "POSITION_ALREADY_OPEN": "a position in it was open",
    "TOTAL_RISK_EXCEEDED": "the book's risk would have exceeded its limit",
    "INSUFFICIENT_MARGIN": "the margin would not have sufficed",
    "SYMBOL_CONCENTRATION": "too much would have been held in it",
    "CLUSTER_CONCENTRATION": "too much would have been held in what moves with it",
    "NET_EXPOSURE": "the book would have leaned too far to one side",
    "GROSS_EXPOSURE": "the book would have been too large",
    "GOVERNANCE_REFUSED": "governance refused it",
    "ORDER_REJECTED": "the venue rejected the order",
}


def why(rule: str) -> str:
    """Return the rule in words."""
    if rule.startswith("ABSTAIN_"):
        return f"its data were unfit for a model ({rule.removeprefix('ABSTAIN_').lower()})"
    if rule.startswith("SAFETY_") and rule not in _WHY:
        return f"the safety policy was {rule.removeprefix('SAFETY_')}"
    if rule.endswith("_AWAY"):
        return f"{rule.removesuffix('_AWAY').lower()} did not answer"
    return _WHY.get(rule, f"the rule {rule} stopped it")


def explain(session: Session, identity: str) -> str:
    """Return one sentence that says what was decided and why; raises NoSuchDecisionError."""
    cycle_id, _, symbol = identity.partition(".")
    row = session.get(Decision, (cycle_id, symbol))
    cycle = session.get(DecisionCycle, cycle_id)
    if row is None or cycle is None:
        raise NoSuchDecisionError(
            f"No decision has the id {identity!r}; `homeostat trade decisions` lists them."
        )
    side = {1: "long", -1: "short", 0: "no side"}[row.side]
    verdict = "was opened" if row.approved else "was not opened"
    sentence = (
        f"{symbol} {side} at {cycle.due_at:%Y-%m-%d %H:%M:%S} UTC {verdict}, because "
        f"{why(row.rule)} ({row.rule}; confidence {row.confidence:.2f}, price {row.price:.6g}, "
        f"directive {cycle.inputs.get('directive')})"
    )
    position = session.scalar(select(Position).where(Position.decision_id == identity))
    if position is not None and position.closed_at is not None:
        risk = position.risk_per_unit * position.first_quantity
        r = (position.realised - position.costs) / risk
        orders = session.scalars(select(Order.kind).where(Order.decision_id == identity)).all()
        sentence += (
            f"; it was closed by {position.exit_rule} at {r:+.2f} R after {len(orders)} orders"
        )
    return sentence + "."


def replay(
    session: Session, settings: Settings, start: datetime, end: datetime
) -> Iterator[Replayed]:
    """Yield every decision due in [start, end) derived anew from the data.

    Raises MarketDataError where the data cannot be read. A cycle of another input than the
    present one cannot be derived and is said to differ by its source.
    """
    market = port.market(settings)
    statement = (
        select(DecisionCycle)
        .where(
            DecisionCycle.book == PAPER, DecisionCycle.due_at >= start, DecisionCycle.due_at < end
        )
        .order_by(DecisionCycle.due_at)
    )
    for cycle in session.scalars(statement):
        yield from _replayed(session, market, cycle)


def _replayed(session: Session, market: port.Market, cycle: DecisionCycle) -> Iterator[Replayed]:
    rows = session.scalars(select(Decision).where(Decision.cycle_id == cycle.id)).all()
    known = cycle.inputs
    if known["source"] != market.source:
        yield from _underivable(cycle, rows, f"the input was {known['source']}")
        return
    try:
        model = artifacts.recall(session, known["model"])
    except artifacts.ArtifactError as error:
        yield from _underivable(cycle, rows, str(error))
        return
    moment = datetime.fromtimestamp(known["newest_bar"] + BAR_S, tz=UTC)
    panel = market.panel(moment, known["bars"])
    found = agents.signals(panel, moment, model)
    volatility = np.nan_to_num(expected_volatility(panel))
    place = {symbol: at for at, symbol in enumerate(panel.symbols)}
    for row in rows:
        at = place.get(row.symbol)
        differs = "the symbol is not in the data" if at is None else ""
        if at is not None:
            derived = (
                int(found.side[at]),
                float(found.confidence[at]),
                float(volatility[at]) if row.volatility else 0.0,
                found.abstained[at],
            )
            differs = _difference(row, *derived)
        yield Replayed(decision_id(cycle.id, row.symbol), row.rule, not differs, differs)


def _underivable(cycle: DecisionCycle, rows: Sequence[Decision], why: str) -> Iterator[Replayed]:
    for row in rows:
        yield Replayed(decision_id(cycle.id, row.symbol), row.rule, False, why)


def _difference(
    row: Decision, side: int, confidence: float, volatility: float, abstained: str
) -> str:
    """Return what differs between a journal's row and its derivation, or an empty text."""
    stated = row.rule.removeprefix("ABSTAIN_") if row.rule.startswith("ABSTAIN_") else ""
    if stated and stated != abstained:
        return f"it abstained for {stated}, and now for {abstained or 'nothing'}"
    if row.rule == "ABSTAIN_STALE" or abstained == "STALE":
        return "" if row.side == 0 else f"side {row.side}, and now none"
    if row.side != side:
        return f"side {row.side}, and now {side}"
    if abs(row.confidence - confidence) > 1e-12:
        return f"confidence {row.confidence:.6f}, and now {confidence:.6f}"
    if abs(row.volatility - volatility) > 1e-12:
        return f"volatility {row.volatility:.6f}, and now {volatility:.6f}"
    if row.stop_loss > 0:
        barriers = volatility_scaled(confidence, volatility)
        if abs(barriers.stop_loss - row.stop_loss) > 1e-12:
            return f"stop {row.stop_loss:.6f}, and now {barriers.stop_loss:.6f}"
    return ""

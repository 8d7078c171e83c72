"""What the canary's trade left in the store: the evidence of each of the nine hooks.

The flow sets no flag. A hook has fired where what its subsystem does is found here, as news.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store import trading as store
from homeostat.store.trading import (
    CANARY,
    Decision,
    ModelOutcome,
    Order,
    Position,
    Reservation,
    RetrainingDecision,
    UniverseMember,
    client_order_id,
)

SYMBOL = "CANARYUSDT"
MODEL = CANARY
#: The nine hooks in the order of the flow, by the subsystem that each belongs to.
HOOKS = (
    "self_healing",
    "ai_hfos",
    "universe_os",
    "dynamic_tpsl",
    "portfolio_balancer",
    "position_intelligence",
    "profit_amplification",
    "model_supervisor",
    "retraining_orchestrator",
)


@dataclass(frozen=True)
class Before:
    """What the store held before the canary, so that only news counts."""

    at: datetime
    directive: int
    trades: int


def artefacts(session: Session, before: Before, decision: str) -> Iterator[tuple[str, str]]:
    """Yield (hook, what it left) for each hook whose work is found in the store."""
    session.flush()
    session.expire_all()
    policy = store.latest_policy(session)
    if policy is not None and policy.expires_at > before.at and len(policy.targets) == 13:
        yield "self_healing", f"policy {policy.policy}, overall {policy.overall}"
    directive = store.latest_directive(session)
    if directive is not None and directive.version > before.directive:
        yield "ai_hfos", f"directive {directive.version}, mode {directive.mode}"
    member = session.get(UniverseMember, SYMBOL)
    if member is not None and member.trades == before.trades + 1:
        yield "universe_os", f"{SYMBOL} passed the filters; trade {member.trades} is in its record"
    yield from _journalled(session, decision)
    position = session.scalar(select(Position).where(Position.decision_id == decision))
    if position is not None:
        yield from _position(session, position)
    outcome = session.get(ModelOutcome, decision)
    if outcome is not None:
        yield "model_supervisor", f"outcome of {outcome.r:.2f} R is in the record of {MODEL}"
        newest = session.scalar(
            select(RetrainingDecision)
            .where(RetrainingDecision.model == MODEL, RetrainingDecision.at >= before.at)
            .order_by(RetrainingDecision.id.desc())
            .limit(1)
        )
        if newest is not None and newest.detail.get("new_samples", 0) >= 1:
            samples = newest.detail["new_samples"]
            yield "retraining_orchestrator", f"{newest.verdict} after {samples} new samples"


def _journalled(session: Session, decision: str) -> Iterator[tuple[str, str]]:
    cycle_id, symbol = decision.split(".", 1)
    row = session.get(Decision, (cycle_id, symbol))
    if row is not None and row.stop_loss > 0 and row.take_profit > row.stop_loss:
        barriers = f"TP {row.take_profit:.2%}, SL {row.stop_loss:.2%}"
        yield "dynamic_tpsl", f"{barriers} at confidence {row.confidence:.2f}"
    reservation = session.get(Reservation, decision)
    # LEFT means that the flow had to clear up what the balancer did not give back.
    if reservation is not None and reservation.state == "RELEASED" and reservation.risk > 0:
        yield "portfolio_balancer", f"{reservation.risk:.2f} at risk was reserved and released"


def _position(session: Session, position: Position) -> Iterator[tuple[str, str]]:
    if position.label == "WINNER" and position.peak_r >= 1:
        yield "position_intelligence", f"labelled WINNER, peak {position.peak_r:.2f} R"
    statement = select(func.count()).where(
        Order.client_id == client_order_id(position.decision_id, "ADD1"), Order.state == "FILLED"
    )
    if position.adds >= 1 and session.scalar(statement):
        yield "profit_amplification", f"{position.adds} adds filled, closed by {position.exit_rule}"

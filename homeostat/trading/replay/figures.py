"""What a rule measured and what it allowed, as it stood when the rule spoke."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.audit import AuditRow
from homeostat.store.trading import Decision, DecisionCycle, UniverseSnapshot, decision_id
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.models.features import NEED_BARS
from homeostat.trading.portfolio_balancer import Candidate, Held, Limits, Merit, Moves
from homeostat.trading.portfolio_balancer.limits import deny_code, measures
from homeostat.trading.replay.recorded import balancer_of


def figure(session: Session, cycle: DecisionCycle, row: Decision, panel: Panel | None) -> str:
    """Return the deciding rule's value beside its threshold, empty where nothing is known."""
    told, rule = cycle.inputs, row.rule
    ground = told.get("ground") or {}
    if rule == "CONFIDENCE_FLOOR" and ground:
        return f"{row.confidence:.4f} is below {_floor(ground):.4f}"
    if rule == "OPENED" and ground:
        return f"{row.confidence:.4f} is not below {_floor(ground):.4f}{_risk(told, row)}"
    if rule == "NO_SIGNAL":
        return f"a rise has a probability of {row.confidence:.2f}, and a side takes more than 0.50"
    if rule.startswith("ABSTAIN_"):
        return _abstained(rule.removeprefix("ABSTAIN_"), row.symbol, cycle, panel)
    if rule == "NOT_IN_UNIVERSE":
        universe = session.get(UniverseSnapshot, told.get("universe") or "")
        found = universe.excluded.get(row.symbol) if universe is not None else None
        return f"its rule {found} kept it out" if found else ""
    if rule == "BIAS_BLOCKED":
        return f"{'long' if row.side > 0 else 'short'} is the side"
    if rule == "GOVERNANCE_REFUSED":
        return _refusal(session, decision_id(cycle.id, row.symbol))
    if rule == "ORDER_REJECTED":
        return f"its notional was {row.size * row.price:.2f}"
    if "book" in told and row.size > 0:
        return _balanced(session, cycle, row, panel)
    return _in_force(rule, ground, cycle)


def _floor(ground: Mapping[str, Any]) -> float:
    from homeostat.trading.flow.ground import USUAL_FLOOR

    directive = ground.get("directive")
    return float(directive["min_confidence"]) if directive else USUAL_FLOOR


def _risk(told: Mapping[str, Any], row: Decision) -> str:
    if "book" not in told:
        return ""
    share = row.size * row.price * row.stop_loss / told["book"]["equity"]
    most = told["book"]["limits"]["trade_risk"]
    return f", and it risked {share:.2%} of equity of at most {most:.2%}"


def _in_force(rule: str, ground: Mapping[str, Any], cycle: DecisionCycle) -> str:
    """Return what the directive, the policy or the universe of an expiry or a refusal said."""
    name = {"DIRECTIVE": "directive", "SAFETY": "policy", "UNIVERSE": "universe"}.get(
        rule.split("_", 1)[0], ""
    )
    told = ground.get(name)
    if not told:
        return ""
    if rule.endswith("_EXPIRED"):
        return (
            f"it held until {told['until'][:19]}, and the tick was due at {cycle.due_at:%H:%M:%S}"
        )
    if rule == "DIRECTIVE_FORBIDS":
        return f"allow_new_trades is false in mode {told['mode']}"
    return ""


def _abstained(reason: str, symbol: str, cycle: DecisionCycle, panel: Panel | None) -> str:
    if panel is None or symbol not in panel.symbols:
        return ""
    close = panel.close[panel.symbols.index(symbol)]
    present = np.isfinite(close)
    if reason == "STALE":
        behind = int(np.argmax(present[::-1])) if present.any() else len(close)
        age = port.age_s(panel, cycle.due_at) + 60 * behind
        return f"its newest bar was {age:.0f} s old, of at most {port.FRESH_S:.0f} s"
    recent = present[-NEED_BARS:]
    return f"{int(recent.sum())} of the last {NEED_BARS} bars are there"


def _refusal(session: Session, decision: str) -> str:
    statement = select(AuditRow.decision, AuditRow.payload).where(AuditRow.resource == "trade.open")
    for reason, payload in session.execute(
        statement.order_by(AuditRow.sequence.desc()).limit(5000)
    ):
        if json.loads(payload).get("subject") == decision:
            return str(reason)
    return ""


def _balanced(session: Session, cycle: DecisionCycle, row: Decision, panel: Panel | None) -> str:
    """Ask the balancer's rules again, in their order, up to this decision."""
    told = cycle.inputs["book"]
    moves = Moves(panel.symbols, panel.log_returns) if panel is not None else None
    held = Held(told["equity"], balancer_of(told).held, moves)
    limits = Limits(**told["limits"])
    statement = select(Decision).where(Decision.cycle_id == cycle.id, Decision.size > 0)
    rivals = [_candidate(cycle, one) for one in session.scalars(statement)]
    for one in sorted(rivals, key=lambda one: -one.priority):
        if one.symbol == row.symbol:
            return _measured(row.rule, one, held, limits)
        if not deny_code(one, held, limits):
            held.take(one)
    return ""


def _candidate(cycle: DecisionCycle, row: Decision) -> Candidate:
    notional = row.size * row.price
    merit = Merit(*cycle.inputs["book"].get("merits", {}).get(row.symbol, ()))
    return Candidate(
        decision_id(cycle.id, row.symbol),
        row.symbol,
        row.side,
        notional * row.stop_loss,
        notional,
        confidence=row.confidence,
        **merit._asdict(),
    )


def _measured(rule: str, one: Candidate, held: Held, limits: Limits) -> str:
    if rule == "MAX_POSITIONS_REACHED":
        return f"{held.count} were, of at most {limits.positions}"
    if rule == "POSITION_ALREADY_OPEN":
        return f"{abs(held.symbols.get(one.symbol, 0.0)):.2f} of it were held, of at most one"
    if rule == "CRITICAL_VIOLATIONS":
        return f"{held.risk:.2f} were at risk of an equity of {held.equity:.2f}"
    for code, found, most in measures(one, held, limits):
        if code == rule and found > most:
            if code == "MARGINAL_VARIANCE":
                return f"{found:.3g} of equity squared, of at most {most:.3g}"
            return f"{found / held.equity:.2%} of equity, of at most {most / held.equity:.2%}"
    return ""

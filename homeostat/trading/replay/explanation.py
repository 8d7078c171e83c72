"""One sentence on one decision: the rule that decided it, its value, and the threshold."""

from __future__ import annotations

from sqlalchemy.orm import Session

from homeostat.errors import HomeostatError, MarketDataError
from homeostat.settings import Settings
from homeostat.store.trading import Decision, DecisionCycle, decision_id
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S, Panel
from homeostat.trading.replay.ending import ending
from homeostat.trading.replay.figures import figure

_WHY = {
    "OPENED": "every gate let it pass, its risk was reserved and its order sent",
    "BRAKE": "the emergency brake was on",
    "TRADING_PAUSED": "trading was paused",
    "VENUE_BANNED": "the venue asked us to wait",
    "VENUE_UNRECONCILED": "book and venue had not been brought together since the start",
    "NOT_IN_UNIVERSE": "the universe did not contain it",
    "UNIVERSE_MISSING": "there was no universe",
    "UNIVERSE_EXPIRED": "the last universe had expired",
    "UNIVERSE_EMPTY": "the universe was empty",
    "NO_SIGNAL": "the model saw no side",
    "MODEL_DISABLED": "the model was switched off",
    "CONFIDENCE_FLOOR": "the model was not as sure as the directive asks",
    "BIAS_BLOCKED": "the model is one-sided, and that side is blocked",
    "NO_BARRIER": "no stop could be set for it",
    "DIRECTIVE_FORBIDS": "the directive in force allowed no new trades",
    "DIRECTIVE_EXPIRED": "the last directive had expired",
    "DIRECTIVE_MISSING": "there was no directive",
    "SAFETY_POLICY_MISSING": "there was no safety policy",
    "SAFETY_POLICY_EXPIRED": "the last safety policy had expired",
    "CRITICAL_VIOLATIONS": "the book was beyond its limits already",
    "MAX_POSITIONS_REACHED": "as many positions as allowed were open",
    "POSITION_ALREADY_OPEN": "a position in it was open",
    "TOTAL_RISK_EXCEEDED": "the book's risk would have exceeded its limit",
    "INSUFFICIENT_MARGIN": "the margin would not have sufficed",
    "SYMBOL_CONCENTRATION": "too much would have been held in it",
    "CLUSTER_CONCENTRATION": "too much would have been held in what moves with it",
    "NET_EXPOSURE": "the book would have leaned too far to one side",
    "GROSS_EXPOSURE": "the book would have been too large",
    "MARGINAL_VARIANCE": "it would have added too much to the book's variance",
    "GOVERNANCE_REFUSED": "governance refused it",
    "ORDER_REJECTED": "the venue rejected the order",
    "NO_RESTING_STOP": "its stop did not rest at the venue",
}

#: Characters of an id that a sentence repeats; a real one has 36, a dot, and a symbol of 48.
_LONGEST = 96


class NoSuchDecisionError(HomeostatError):
    """No decision has that id; `homeostat trade decisions` lists them."""

    exit_code = 64


def why(rule: str) -> str:
    """Return the rule in words."""
    if rule.startswith("ABSTAIN_"):
        return f"its data were unfit for a model ({rule.removeprefix('ABSTAIN_').lower()})"
    if rule.startswith("SAFETY_") and rule not in _WHY:
        return f"the safety policy was {rule.removeprefix('SAFETY_')}"
    if rule.endswith("_AWAY"):
        return f"{rule.removesuffix('_AWAY').lower()} did not answer"
    return _WHY.get(rule, f"the rule {rule} stopped it")


def explain(session: Session, identity: str, settings: Settings | None = None) -> str:
    """Return one sentence that says what was decided and why; raises NoSuchDecisionError.

    With `settings` the data are read as well, for the figures that only they tell.
    """
    row, cycle = _decision(session, identity.strip())
    identity, symbol = decision_id(cycle.id, row.symbol), row.symbol
    side = {1: "long", -1: "short"}.get(row.side, "no side")
    verdict = "was opened" if row.approved else "was not opened"
    try:
        told = figure(session, cycle, row, _panel(cycle, settings))
    except (LookupError, TypeError, ValueError):
        told = "what it rested on cannot be read any more"
    sentence = (
        f"{symbol} {side} at {cycle.due_at:%Y-%m-%d %H:%M:%S} UTC {verdict}, because "
        f"{why(row.rule)}{f': {told}' if told else ''} "
        f"({row.rule}; confidence {row.confidence:.2f}, price {row.price:.6g}, "
        f"directive {cycle.inputs.get('directive')})"
    )
    return sentence + ending(session, identity) + "."


def _decision(session: Session, identity: str) -> tuple[Decision, DecisionCycle]:
    cycle_id, _, symbol = identity.partition(".")
    # What no terminal shows is no id, and some databases do not even take it.
    if identity.isprintable():
        row = session.get(Decision, (cycle_id, symbol))
        cycle = session.get(DecisionCycle, cycle_id)
        if row is not None and cycle is not None:
            return row, cycle
    shown = identity if len(identity) <= _LONGEST else identity[:_LONGEST] + "…"
    raise NoSuchDecisionError(
        f"No decision has the id {shown!r}; `homeostat trade decisions` lists them."
    )


def _panel(cycle: DecisionCycle, settings: Settings | None) -> Panel | None:
    """Return the bars that the cycle saw, None where they are not to be had."""
    known = cycle.inputs
    if settings is None or "newest_bar" not in known:
        return None
    try:
        market = port.market(settings)
        if market.source != known["source"]:
            return None
        return market.panel(port.moment_of(known["newest_bar"] + BAR_S), known["bars"])
    except MarketDataError:
        return None

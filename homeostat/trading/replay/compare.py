"""A journaled decision beside its derivation: the same, or the first step that differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.store.trading import Decision
from homeostat.trading.flow.batch import OPENED, Batch
from homeostat.trading.replay import derive

#: The steps in the order of the flow; where several differ, the first is named.
STEPS = (
    "source",
    "data",
    "journal",
    "model",
    "switches",
    "safety policy",
    "venue",
    "directive",
    "subsystem",
    "universe",
    "signal",
    "supervisor",
    "confidence",
    "barriers",
    "size",
    "balancer",
    "governance",
    "order",
)
_STEP_OF = {
    "BRAKE": "switches",
    "TRADING_PAUSED": "switches",
    "MODEL_DISABLED": "switches",
    "VENUE_BANNED": "venue",
    "VENUE_UNRECONCILED": "venue",
    "NOT_IN_UNIVERSE": "universe",
    "NO_SIGNAL": "signal",
    "BIAS_BLOCKED": "supervisor",
    "CONFIDENCE_FLOOR": "confidence",
    "NO_BARRIER": "barriers",
    "GOVERNANCE_REFUSED": "governance",
    derive.NO_VERDICT: "governance",
    OPENED: "order",
    "ORDER_REJECTED": "order",
    "NO_RESTING_STOP": "order",
    derive.NO_ORDER: "order",
}
_STEP_OF_BEGINNING = {
    "SAFETY_": "safety policy",
    "DIRECTIVE_": "directive",
    "UNIVERSE_": "universe",
    "ABSTAIN_": "signal",
}
#: Numbers that differ by less are the same: a sum may be taken in another order.
_SAME = 1e-9


@dataclass(frozen=True)
class Replayed:
    """One decision derived anew; where it is not the same, the `step` that differs and how."""

    id: str
    rule: str
    same: bool
    step: str = ""
    differs: str = ""


def step_of(rule: str) -> str:
    """Return the step at which a rule speaks; the balancer's codes are the rest."""
    if rule in _STEP_OF:
        return _STEP_OF[rule]
    if rule.endswith("_AWAY"):
        return "subsystem"
    found = (step for start, step in _STEP_OF_BEGINNING.items() if rule.startswith(start))
    return next(found, "balancer")


def difference(row: Decision, batch: Batch, at: int) -> tuple[str, str]:
    """Return the first step at which a journal's row and row `at` of its derivation differ."""
    return next(_differences(row, batch, at), ("", ""))


def _differences(row: Decision, batch: Batch, at: int) -> Iterator[tuple[str, str]]:
    for name, found in (
        ("side", float(batch.signals.side[at])),
        ("confidence", float(batch.signals.confidence[at])),
    ):
        if not _alike(getattr(row, name), found):
            yield "signal", _was(name, getattr(row, name), found)
    rule = batch.rules[at]
    if rule != row.rule:
        step = min(step_of(row.rule), step_of(rule), key=STEPS.index)
        yield step, f"{row.rule}, and now {rule}"
    if row.approved != (row.rule == OPENED):
        yield "journal", f"approved is {row.approved} beside the rule {row.rule}"
    close = float(batch.panel.close[at, -1])
    take, stop, trail, partial = batch.barriers[:, at].tolist()
    for step, name, found in (
        ("data", "price", close if close == close else 0.0),  # noqa: PLR0124  # NaN is unlike itself
        ("barriers", "volatility", float(batch.volatility[at])),
        ("barriers", "take_profit", take),
        ("barriers", "stop_loss", stop),
        ("barriers", "trail", trail),
        ("barriers", "partial", partial),
        ("size", "size", float(batch.size[at])),
    ):
        # It is worked out for all as soon as one gets so far, and matters to those alone.
        incidental = name == "volatility" and not (row.stop_loss > 0 and stop > 0)
        if not incidental and not _alike(getattr(row, name), found):
            yield step, _was(name, getattr(row, name), found)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * max(abs(one), abs(other))


def _was(name: str, was: float, now: float) -> str:
    return f"{name} {was:.9g}, and now {now:.9g}"

"""Watches every model: its signals, the outcomes that come later, drift, calibration and bias.

In OBSERVE nothing is blocked; in ENFORCED a one-sided model loses that side until it mends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.settings import Mode
from homeostat.store import trading as store
from homeostat.store.trading import ModelOutcome, ModelRecord
from homeostat.trading.market.panel import Floats
from homeostat.trading.models.validation import calibration_error

#: Fewer signals prove no bias; above this share of one side, and unlikely by chance, they do.
BIAS_SIGNALS, BIAS_SHARE, BIAS_CHANCE = 20, 0.70, 0.05
#: Outcomes that drift and calibration are judged on.
WINDOW = 500
#: Page–Hinkley: tolerated change of the mean, and the sum from which it is drift.
PAGE_DELTA, PAGE_LAMBDA = 0.005, 5.0
#: ADWIN's confidence (Bifet and Gavaldà, 2007).
ADWIN_DELTA = 0.002
#: Calibration errors from which a model is degraded, and critical.
CALIBRATION_ERRORS = (0.10, 0.20)
#: A population stability index above this is another population (Siddiqi, 2006).
PSI_SHIFT = 0.25


@dataclass(frozen=True)
class Outcome:
    """A signal's delayed label."""

    decision_id: str
    model: str
    symbol: str
    side: int
    confidence: float
    r: float


def page_hinkley(losses: Sequence[float]) -> bool:
    """Return whether the mean of the losses has moved, either way."""
    mean, up, down, least, most = 0.0, 0.0, 0.0, 0.0, 0.0
    for count, loss in enumerate(losses, 1):
        mean += (loss - mean) / count
        up += loss - mean - PAGE_DELTA
        down += loss - mean + PAGE_DELTA
        least, most = min(least, up), max(most, down)
        if up - least > PAGE_LAMBDA or most - down > PAGE_LAMBDA:
            return True
    return False


def adwin(losses: Sequence[float]) -> bool:
    """Return whether some cut parts the losses (0 to 1) into two windows of different mean."""
    values = np.asarray(losses, dtype=np.float64)
    count = len(values)
    if count < 30:
        return False
    sums = np.cumsum(values)
    cuts = np.arange(10, count - 10)
    left, right = sums[cuts - 1] / cuts, (sums[-1] - sums[cuts - 1]) / (count - cuts)
    harmonic = 1 / (1 / cuts + 1 / (count - cuts))
    spread = math.log(2 * math.log(count) / ADWIN_DELTA)
    bound = np.sqrt(2 / harmonic * values.var() * spread) + 2 / (3 * harmonic) * spread
    return bool((np.abs(left - right) > bound).any())


def blocked_side(longs: int, shorts: int) -> int:
    """Return the side (1, -1) that a biased model loses, or 0."""
    total, most = longs + shorts, max(longs, shorts)
    if total < BIAS_SIGNALS or most / total <= BIAS_SHARE:
        return 0
    # Binomial test, two-sided, by the normal approximation with continuity where it is large.
    if total <= 200:
        tail = sum(math.comb(total, k) for k in range(most, total + 1)) / 2**total
    else:
        tail = 0.5 * math.erfc((most - 0.5 - total / 2) / math.sqrt(total / 2))
    if 2 * tail >= BIAS_CHANCE:
        return 0
    return 1 if longs > shorts else -1


def psi(before: Floats, now: Floats) -> float:
    """Return the population stability index of a feature over ten quantile bins."""
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    shares = [np.bincount(np.searchsorted(edges, x), minlength=10) / len(x) for x in (before, now)]
    was, is_ = (np.maximum(share, 1e-4) for share in shares)
    return float(((is_ - was) * np.log(is_ / was)).sum())


def rank_of(win_rate: float, mean_r: float, error: float, profit_factor: float) -> float:
    """Return the model's rank: .35 wins, .35 result, .20 calibration, .10 profit factor."""
    return (
        0.35 * win_rate
        + 0.35 * max(0.0, mean_r)
        + 0.20 * (1 - error)
        + 0.10 * min(profit_factor, 10.0) / 10
    )


class ModelSupervisor(Component):
    """Watches every model's signals and outcomes."""

    spec = ComponentSpec(
        name="model_supervisor",
        wing=Wing.TRADING,
        tier=6,
        summary="Watches every model's signals and outcomes, and blocks a biased side.",
    )

    def observe(
        self, session: Session, model: str, longs: int, shorts: int, abstained: Mapping[str, int]
    ) -> ModelRecord:
        """Count one batch of signals."""
        record = self._record(session, model)
        record.longs += longs
        record.shorts += shorts
        counts = dict(record.abstained)
        for reason, count in abstained.items():
            counts[reason] = counts.get(reason, 0) + count
        record.abstained, record.updated_at = counts, utcnow()
        session.flush()
        return record

    def blocked(self, session: Session, model: str) -> int:
        """Return the side that the model must not take now, or 0; only ENFORCED blocks."""
        record = session.get(ModelRecord, model)
        enforced = self.context.settings.mode is Mode.ENFORCED
        return record.blocked_side if record is not None and enforced else 0

    def learn(self, session: Session, outcome: Outcome) -> bool:
        """Take in a delayed label, once; False where it is known already."""
        if session.get(ModelOutcome, outcome.decision_id) is not None:
            return False
        won = outcome.r > 0
        session.add(ModelOutcome(**vars(outcome), won=won, at=utcnow()))
        record = self._record(session, outcome.model)
        record.outcomes += 1
        record.wins += won
        record.sum_r += outcome.r
        record.gross_profit += max(outcome.r, 0.0)
        record.gross_loss += max(-outcome.r, 0.0)
        session.flush()
        return True

    def judge(self, session: Session, record: ModelRecord) -> None:
        """Set the record's Brier loss, calibration, drift, bias, health and rank anew."""
        statement = (
            select(ModelOutcome)
            .where(ModelOutcome.model == record.model)
            .order_by(ModelOutcome.at.desc(), ModelOutcome.decision_id.desc())
            .limit(WINDOW)
        )
        rows = list(session.scalars(statement))[::-1]
        record.blocked_side = blocked_side(record.longs, record.shorts)
        record.health = "UNKNOWN"
        if not rows:
            return
        confidence = np.array([row.confidence for row in rows])
        won = np.array([float(row.won) for row in rows])
        losses = (confidence - won) ** 2
        record.brier = float(losses.mean())
        record.calibration_error = calibration_error(confidence, won)
        record.drift = {"page_hinkley": page_hinkley(losses.tolist()), "adwin": adwin(losses)}
        factor = record.gross_profit / record.gross_loss if record.gross_loss else 10.0
        record.rank = rank_of(
            record.wins / record.outcomes,
            record.sum_r / record.outcomes,
            record.calibration_error,
            factor,
        )
        if len(rows) >= BIAS_SIGNALS:
            low, high = CALIBRATION_ERRORS
            drifted = any(record.drift.values())
            critical = record.calibration_error > high and drifted
            degraded = drifted or record.calibration_error > low or record.blocked_side != 0
            record.health = "CRITICAL" if critical else "DEGRADED" if degraded else "HEALTHY"

    def _record(self, session: Session, model: str) -> ModelRecord:
        record = session.get(ModelRecord, model, with_for_update=True)
        if record is None:
            zeros = dict.fromkeys(("longs", "shorts", "outcomes", "wins", "blocked_side"), 0)
            sums = dict.fromkeys(("sum_r", "gross_profit", "gross_loss"), 0.0)
            record = ModelRecord(model=model, health="UNKNOWN", drift={}, abstained={})
            for name, value in {**zeros, **sums}.items():
                setattr(record, name, value)
            session.add(record)
            session.flush()
        return record

    def probe(self, session: Session) -> Evidence:
        """Plant a one-sided model, a fair one, and a drift; see the first and last found."""
        watch = Stopwatch()
        savepoint = session.begin_nested()
        name = f"probe-{new_id()[-8:]}"
        record = self.observe(session, name, 80, 20, {})
        self.judge(session, record)
        biased = record.blocked_side
        savepoint.rollback()
        fair = blocked_side(52, 48)
        steady = [0.2, 0.25] * 60
        drifts = adwin(steady + [0.9] * 60) and page_hinkley(steady + [0.9] * 60)
        false_alarm = adwin(steady) or page_hinkley(steady)
        return Evidence(
            claim="a planted bias and a planted drift are found, and a fair model is left alone",
            passed=biased == 1 and fair == 0 and drifts and not false_alarm,
            observed={"biased": biased, "fair": fair, "drift": drifts, "false_alarm": false_alarm},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Judge every model on its persisted counts and outcomes."""
        del due_at
        records = session.scalars(select(ModelRecord)).all()
        for record in records:
            self.judge(session, record)
        version = store.acknowledge(session, self.spec.full_name)
        models = {
            record.model: {
                "signals": record.longs + record.shorts,
                "outcomes": record.outcomes,
                "health": record.health,
                "blocked_side": record.blocked_side,
                "rank": record.rank,
                "abstained": sum(record.abstained.values()),
            }
            for record in records
        }
        return CycleResult(
            work=1 + len(records),
            observed={
                "mode": self.context.settings.mode,
                "models": dict(models),
                "directive": version,
            },
        )

"""Watches every model: its signals, the outcomes that come later, drift, calibration and bias.

In OBSERVE nothing is blocked; in ENFORCED a one-sided model loses that side until it mends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.settings import Mode
from homeostat.store import trading as store
from homeostat.store.trading import ModelAlias, ModelArtifact, ModelOutcome, ModelRecord
from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats
from homeostat.trading.models import drift, features
from homeostat.trading.models.agent import ENSEMBLE
from homeostat.trading.models.validation import calibration_error

#: Fewer signals prove no bias; above this share of one side, and unlikely by chance, they do.
BIAS_SIGNALS, BIAS_SHARE, BIAS_CHANCE = 20, 0.70, 0.05
#: Outcomes that drift and calibration are judged on.
WINDOW = 500
#: Calibration errors from which a model is degraded, and critical.
CALIBRATION_ERRORS = (0.10, 0.20)
#: Signals of either side, and the bin counts of features, forget by this much a tick: half of
#: them is an hour and ten old. A bias of yesterday blocks nothing today.
FORGET = 0.99


@dataclass(frozen=True)
class Outcome:
    """A signal's delayed label."""

    decision_id: str
    model: str
    symbol: str
    side: int
    confidence: float
    r: float


def blocked_side(longs: float, shorts: float) -> int:
    """Return the side (1, -1) that a biased model loses, or 0; faded counts are rounded."""
    whole = round(longs), round(shorts)
    total, most = sum(whole), max(whole)
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


def rank_of(win_rate: float, mean_r: float, error: float, profit_factor: float) -> float:
    """Return the model's rank: .35 wins, .35 result, .20 calibration, .10 profit factor."""
    return (
        0.35 * win_rate
        + 0.35 * max(0.0, mean_r)
        + 0.20 * (1 - error)
        + 0.10 * min(profit_factor, 10.0) / 10
    )


_RECORDS = ModelRecord.__table__.c
_COUNT = (
    update(ModelRecord.__table__)  # type: ignore[arg-type]  # a model's table is a Table at run time
    .where(_RECORDS.model == bindparam("name"))
    .values(
        longs=_RECORDS.longs + bindparam("more_longs"),
        shorts=_RECORDS.shorts + bindparam("more_shorts"),
        recent_longs=FORGET * _RECORDS.recent_longs + bindparam("more_longs"),
        recent_shorts=FORGET * _RECORDS.recent_shorts + bindparam("more_shorts"),
        updated_at=bindparam("now"),
    )
    .returning(_RECORDS.blocked_side)
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
        record.recent_longs = FORGET * record.recent_longs + longs
        record.recent_shorts = FORGET * record.recent_shorts + shorts
        counts = dict(record.abstained)
        for reason, count in abstained.items():
            counts[reason] = counts.get(reason, 0) + count
        record.abstained, record.updated_at = counts, utcnow()
        session.flush()
        return record

    def count(
        self, session: Session, model: str, longs: int, shorts: int, abstained: Mapping[str, int]
    ) -> int:
        """Count one batch of signals and return the side that the model must not take, or 0.

        The flow asks this every cycle: where nobody abstained, one statement does it.
        """
        if not abstained:
            counted = {"name": model, "more_longs": longs, "more_shorts": shorts, "now": utcnow()}
            side = session.execute(_COUNT, counted).scalar()
            if side is not None:
                return int(side) if self.context.settings.mode is Mode.ENFORCED else 0
        record = self.observe(session, model, longs, shorts, abstained)
        return record.blocked_side if self.context.settings.mode is Mode.ENFORCED else 0

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
        """Set the record's Brier loss, calibration, drift, bias, health and rank anew.

        Only outcomes since the model in service was promoted count: drift is against itself.
        """
        promoted = select(func.max(ModelAlias.at))
        if record.model != ENSEMBLE:
            promoted = promoted.where(ModelAlias.name == record.model)
        since = session.scalar(promoted)
        statement = select(ModelOutcome).where(ModelOutcome.model == record.model)
        if since is not None:
            statement = statement.where(ModelOutcome.at >= since)
        newest = statement.order_by(ModelOutcome.at.desc(), ModelOutcome.decision_id.desc())
        rows = list(session.scalars(newest.limit(WINDOW)))[::-1]
        record.blocked_side = blocked_side(record.recent_longs, record.recent_shorts)
        record.health = "UNKNOWN"
        if not rows:
            return
        confidence = np.array([row.confidence for row in rows])
        won = np.array([float(row.won) for row in rows])
        losses = (confidence - won) ** 2
        record.brier = float(losses.mean())
        record.calibration_error = calibration_error(confidence, won)
        drifted = self._drift(record, rows, losses)
        factor = record.gross_profit / record.gross_loss if record.gross_loss else 10.0
        record.rank = rank_of(
            record.wins / record.outcomes,
            record.sum_r / record.outcomes,
            record.calibration_error,
            factor,
        )
        if len(rows) >= BIAS_SIGNALS:
            low, high = CALIBRATION_ERRORS
            critical = record.calibration_error > high and drifted
            degraded = drifted or record.calibration_error > low or record.blocked_side != 0
            record.health = "CRITICAL" if critical else "DEGRADED" if degraded else "HEALTHY"

    def _drift(self, record: ModelRecord, rows: list[ModelOutcome], losses: Floats) -> bool:
        """Note which detector found drift of the losses, and at which outcome; returns whether."""
        series = losses.tolist()
        found = {"adwin": drift.adwin(series), "page_hinkley": drift.page_hinkley(series)}
        places = [place for one in found.values() for place in one]
        seen = {name: bool(one) for name, one in found.items()}
        found_at = rows[max(places)].at.isoformat() if places else None
        record.drift = {**record.drift, **seen, "found_at": found_at}
        return bool(places) or bool(record.drift.get("shifted"))

    def count_features(self, session: Session, record: ModelRecord, rows: Floats) -> None:
        """Add the features (k, 12) that the model was served to its bin counts, and judge them.

        The bins are those of the model's training; a model that was never trained has none.
        """
        name = select(ModelAlias.artifact_id).order_by(ModelAlias.at.desc()).limit(1)
        if record.model != ENSEMBLE:
            name = name.where(ModelAlias.name == record.model)
        artifact = session.get(ModelArtifact, session.scalar(name) or "")
        trained_on = artifact.metrics.get("features") if artifact is not None else None
        if artifact is None or not trained_on or not len(rows):
            return
        before = record.drift.get("bins", {}) if record.drift.get("of") == artifact.id else {}
        bins = {
            one: drift.counts(column, trained_on[one]["edges"])
            + FORGET * np.array(before.get(one, np.zeros(len(trained_on[one]["shares"]))))
            for one, column in zip(features.NAMES, rows.T, strict=True)
        }
        psi: dict[str, float] = {
            one: round(drift.psi(trained_on[one]["shares"], counted), 4)
            for one, counted in bins.items()
            if counted.sum() >= drift.PSI_LEAST
        }
        record.drift = {
            **record.drift,
            "of": artifact.id,
            "bins": {one: counted.round(3).tolist() for one, counted in bins.items()},
            "psi": psi,
            "shifted": sorted(one for one, value in psi.items() if value > drift.PSI_SHIFT),
        }

    def _record(self, session: Session, model: str) -> ModelRecord:
        record = session.get(ModelRecord, model, with_for_update=True)
        if record is None:
            zeros = dict.fromkeys(("longs", "shorts", "outcomes", "wins", "blocked_side"), 0)
            faded = ("recent_longs", "recent_shorts")
            sums = dict.fromkeys(("sum_r", "gross_profit", "gross_loss", *faded), 0.0)
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
        moved = steady + [0.9] * 60
        drifts = bool(drift.adwin(moved)) and bool(drift.page_hinkley(moved))
        false_alarm = bool(drift.adwin(steady)) or bool(drift.page_hinkley(steady))
        return Evidence(
            claim="a planted bias and a planted drift are found, and a fair model is left alone",
            passed=biased == 1 and fair == 0 and drifts and not false_alarm,
            observed={"biased": biased, "fair": fair, "drift": drifts, "false_alarm": false_alarm},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Judge every model on its persisted counts and outcomes."""
        panel = port.market(self.context.settings).panel(due_at, features.INPUT_BARS)
        served = drift.population(panel) if port.age_s(panel, due_at) <= port.FRESH_S else None
        records = session.scalars(select(ModelRecord)).all()
        for record in records:
            if served is not None:
                self.count_features(session, record, served)
            self.judge(session, record)
        version = store.acknowledge(session, self.spec.full_name)
        models = {
            record.model: {
                "signals": record.longs + record.shorts,
                "outcomes": record.outcomes,
                "health": record.health,
                "blocked_side": record.blocked_side,
                "drift": record.drift.get("found_at"),
                "shifted_features": list(record.drift.get("shifted", ())),
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

"""Judges a model by its outcomes: Brier loss, calibration, drift, health and rank."""

from __future__ import annotations

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store.trading import ModelAlias, ModelOutcome, ModelRecord
from homeostat.trading.market.panel import Floats
from homeostat.trading.model_supervisor.rules import blocked_side, health_of, rank_of
from homeostat.trading.models import drift
from homeostat.trading.models.agent import ENSEMBLE
from homeostat.trading.models.validation import calibration_error

#: Outcomes that drift and calibration are judged on.
WINDOW = 500


def judge(session: Session, record: ModelRecord) -> None:
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
    record.judged_longs, record.judged_shorts = record.recent_longs, record.recent_shorts
    record.blocked_side = blocked_side(record.judged_longs, record.judged_shorts)
    record.health = "UNKNOWN"
    if not rows:
        return
    confidence = np.array([row.confidence for row in rows])
    won = np.array([float(row.won) for row in rows])
    losses = (confidence - won) ** 2
    record.brier = float(losses.mean())
    record.calibration_error = calibration_error(confidence, won)
    drifted = _drift(record, rows, losses)
    factor = record.gross_profit / record.gross_loss if record.gross_loss else 10.0
    record.rank = rank_of(
        record.wins / record.outcomes,
        record.sum_r / record.outcomes,
        record.calibration_error,
        factor,
    )
    record.health = health_of(
        len(rows), record.calibration_error, drifted=drifted, biased=record.blocked_side != 0
    )


def _drift(record: ModelRecord, rows: list[ModelOutcome], losses: Floats) -> bool:
    """Note which detector found drift of the losses, and at which outcome; returns whether."""
    series = losses.tolist()
    found = {"adwin": drift.adwin(series), "page_hinkley": drift.page_hinkley(series)}
    places = [place for one in found.values() for place in one]
    seen = {name: bool(one) for name, one in found.items()}
    found_at = rows[max(places)].at.isoformat() if places else None
    record.drift = {**record.drift, **seen, "found_at": found_at}
    return bool(places) or bool(record.drift.get("shifted"))

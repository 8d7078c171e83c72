"""When a model is retrained: what is known of it, and which of it calls for training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import from_iso, utcnow
from homeostat.store.trading import ModelAlias, ModelArtifact, ModelOutcome, ModelRecord
from homeostat.trading.market.panel import Panel
from homeostat.trading.models import drift
from homeostat.trading.models.agent import ENSEMBLE

#: The specification's: so many outcomes since the last training, or so old.
NEW_SAMPLES = 50
OLDEST = timedelta(days=7)


@dataclass(frozen=True)
class Standing:
    """What is known of a model when it is asked whether to retrain it."""

    health: str = "UNKNOWN"
    drifted: bool = False
    regime_changed: bool = False
    age: timedelta = timedelta(0)
    new_samples: int = 0


def triggers(standing: Standing) -> list[str]:
    """Return why the model should be retrained, most urgent first; empty: not now."""
    reasons = {
        "HEALTH_CRITICAL": standing.health == "CRITICAL",
        "DRIFT": standing.drifted,
        "HEALTH_DEGRADED": standing.health == "DEGRADED",
        "REGIME_CHANGE": standing.regime_changed,
        "AGE": standing.age >= OLDEST,
        "NEW_SAMPLES": standing.new_samples >= NEW_SAMPLES,
    }
    return [reason for reason, holds in reasons.items() if holds]


def standing_of(session: Session, name: str, panel: Panel | None = None) -> Standing:
    """Return what speaks for or against retraining the model now.

    Without a panel nothing is said of the regime.
    """
    newest = session.scalars(
        select(ModelArtifact)
        .where(ModelArtifact.name == name)
        .order_by(ModelArtifact.trained_at.desc())
        .limit(1)
    ).first()
    # A member of the ensemble answers for what the ensemble said.
    serves = session.get(ModelAlias, name) is not None
    names = (name, ENSEMBLE) if serves else (name,)
    records = session.scalars(select(ModelRecord).where(ModelRecord.model.in_(names))).all()
    statement = select(func.count()).where(ModelOutcome.model.in_(names))
    if newest is not None:
        statement = statement.where(ModelOutcome.at > newest.trained_at)
    healths = {record.health for record in records}
    return Standing(
        health=next((one for one in ("CRITICAL", "DEGRADED") if one in healths), "UNKNOWN"),
        # What was found before the last training has been answered by it.
        drifted=any(_drifted_since(one, newest) for one in records),
        regime_changed=bool(
            panel is not None
            and newest is not None
            and drift.regime_changed(newest.metrics.get("regime", {}), drift.regime(panel))
        ),
        # A model that was never trained is as old as can be.
        age=utcnow() - newest.trained_at if newest else OLDEST,
        new_samples=int(session.scalar(statement) or 0),
    )


def _drifted_since(record: ModelRecord, newest: ModelArtifact | None) -> bool:
    found_at = record.drift.get("found_at")
    if not found_at:
        return False
    return newest is None or from_iso(found_at) > newest.trained_at

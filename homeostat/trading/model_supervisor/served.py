"""Counts the features that a model is served, and compares them with those of its training."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.trading import ModelAlias, ModelArtifact, ModelRecord
from homeostat.trading.market.panel import Floats
from homeostat.trading.model_supervisor.rules import FORGET
from homeostat.trading.models import drift, features
from homeostat.trading.models.agent import ENSEMBLE


def count_features(session: Session, record: ModelRecord, rows: Floats) -> None:
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

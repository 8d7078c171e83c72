"""Lets the deep champions say what they expect: on the queue `models`, for the flow to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store import controls
from homeostat.store.trading import ModelAlias, ModelArtifact, ModelPrediction
from homeostat.trading import signals
from homeostat.trading.market.panel import Panel
from homeostat.trading.models import artifacts, deep


@dataclass(frozen=True)
class Said:
    """One model's batch: probabilities of a rise by symbol, and why of the others nothing."""

    model: str
    sha256: str
    bar: int
    rises: dict[str, float]
    abstained: dict[str, str]


def champions(session: Session) -> list[ModelArtifact]:
    """Return the deep artefacts in service that are not switched off, by name."""
    statement = (
        select(ModelArtifact)
        .join(ModelAlias, ModelAlias.artifact_id == ModelArtifact.id)
        .where(ModelAlias.name.in_(deep.NAMES))
        .order_by(ModelAlias.name)
    )
    off = controls.holding(session)
    found = session.scalars(statement)
    return [one for one in found if controls.MODEL_DISABLED + one.name not in off]


def foretell(champion: ModelArtifact, panel: Panel, at: datetime) -> Said:
    """Ask a champion about every symbol that is fit; the others never abort the batch.

    Raises ModelUnavailableError where its library is missing, ArtifactError where its bytes are
    not those that were trained.
    """
    agent = artifacts.agent_of(champion)
    reasons = signals.part(panel, at, agent.need)
    fit = np.array([not reason for reason in reasons])
    rises: dict[str, float] = {}
    if fit.any():
        asked = panel.rows(fit)
        said = zip(asked.symbols, agent.rise(asked).tolist(), strict=True)
        rises = {symbol: rise for symbol, rise in said if np.isfinite(rise)}
    unfit = {
        symbol: reason for symbol, reason in zip(panel.symbols, reasons, strict=True) if reason
    }
    return Said(champion.name, champion.sha256, int(panel.times[-1]), rises, unfit)


def keep(session: Session, said: Said) -> bool:
    """Store a batch, once for each artefact and bar; False where it is stored already."""
    if session.get(ModelPrediction, (said.sha256, said.bar)) is not None:
        return False
    session.add(ModelPrediction(**vars(said), at=utcnow()))
    session.flush()
    return True

"""The shadow period: what a challenger would have said, on bars that came after its training."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.store.trading import ModelArtifact
from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import artifacts
from homeostat.trading.models.agent import Agent
from homeostat.trading.models.features import HORIZON_BARS
from homeostat.trading.models.promotion import NAIVE_BRIER, SHADOW

#: Bars between two moments at which the challenger is asked.
STEP = 15
#: A challenger is worse when it is by this many standard errors (one-sided, 5 %).
ERRORS = 1.645
#: A shadow is judged on at most this many bars, however late the judge comes.
BARS = 720


def watch(
    challenger: Agent, champion: Agent | None, panel: Panel, since: datetime
) -> dict[str, float]:
    """Return the challenger's Brier loss since then beside the champion's, moment by moment.

    Without a champion it stands against saying one half. `shadow_labels` counts the moments.
    """
    need = max(challenger.need, champion.need if champion else 0)
    first = int(np.searchsorted(panel.times, since.timestamp()))
    ends = np.arange(max(first, need), panel.close.shape[1] - HORIZON_BARS + 1, STEP)
    losses = np.array([_losses(challenger, champion, panel, int(end), need) for end in ends])
    if not len(losses):
        return {"shadow_labels": 0}
    apart = losses[:, 0] - losses[:, 1]
    # Labels that overlap are no independent ones: there are fewer than there seem.
    count = len(apart) * STEP / HORIZON_BARS
    error = float(apart.std(ddof=1)) / np.sqrt(count) if len(apart) > 1 else np.inf
    return {
        "shadow_labels": len(losses),
        "shadow_brier": float(losses[:, 0].mean()),
        "shadow_other_brier": float(losses[:, 1].mean()),
        "shadow_worse": float(apart.mean() > ERRORS * error),
    }


def judge(session: Session, challenger: ModelArtifact, panel: Panel) -> dict[str, float]:
    """Return how the challenger did on the bars since its training; nothing before its time.

    Bytes that cannot be read did worse. Raises ModelUnavailableError where a library is missing.
    """
    if utcnow() - challenger.trained_at < SHADOW:
        return {}
    try:
        agent = artifacts.agent_of(challenger)
    except artifacts.ArtifactError:
        return {"shadow_worse": 1.0}
    champion = artifacts.champion(session, challenger.name)
    other = artifacts.agent_of(champion) if champion else None
    began = max(challenger.trained_at, utcnow() - timedelta(minutes=BARS))
    return watch(agent, other, panel, began)


def _losses(
    challenger: Agent, champion: Agent | None, panel: Panel, end: int, need: int
) -> tuple[float, float]:
    """Return both mean losses over the symbols that have every bar around the moment `end`."""
    around = panel.close[:, end - need : end + HORIZON_BARS]
    whole = np.isfinite(around).all(axis=1) & (np.ptp(around[:, :need], axis=1) > 0)
    if not whole.any():
        return NAIVE_BRIER, NAIVE_BRIER
    seen = panel.window(0, end).rows(whole)
    rose = (panel.close[whole, end + HORIZON_BARS - 1] > seen.close[:, -1]).astype(np.float64)
    other = _loss(champion.rise(seen), rose) if champion else NAIVE_BRIER
    return _loss(challenger.rise(seen), rose), other


def _loss(rise: Floats, rose: Floats) -> float:
    return float(((rise - rose) ** 2).mean())

"""The model agents behind one port: a side and a confidence for each symbol, or an abstention.

Symbols are parted before the batch: what is too short, stale, gapped or standing still gets its
typed abstention, and one such symbol never aborts the others. The seed lost 289 predictions in
five minutes to shapes that did not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models.agent import BASELINE, Agent, EwmaModel
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS

__all__ = [
    "BASELINE",
    "HORIZON_BARS",
    "INPUT_BARS",
    "Abstain",
    "Agent",
    "EwmaModel",
    "Signals",
    "part",
    "signals",
]


class Abstain(StrEnum):
    """Why no signal was given."""

    NONE = ""
    STALE = "STALE"
    GAPPED = "GAPPED"
    TOO_SHORT = "TOO_SHORT"
    CONSTANT = "CONSTANT"


@dataclass(frozen=True)
class Signals:
    """One batch: `side` is 1, -1 or 0, `confidence` 0.5 to 1, `abstained` the reason or empty."""

    model: str
    side: NDArray[np.int64]
    confidence: Floats
    abstained: tuple[str, ...]

    def digest(self) -> dict[str, int]:
        """Return how many abstained for each reason."""
        reasons = [reason for reason in self.abstained if reason]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def part(panel: Panel, at: datetime, need: int = INPUT_BARS) -> tuple[str, ...]:
    """Return, for each symbol, why no model should be asked about it, or an empty text."""
    if port.age_s(panel, at) > port.FRESH_S:
        return (Abstain.STALE.value,) * len(panel.symbols)
    recent = panel.close[:, -need:]
    if recent.shape[1] == need and (np.ptp(recent, axis=1) > 0).all():
        # No bar is missing (the span of NaN is NaN) and everything moves: the usual case.
        return (Abstain.NONE.value,) * len(panel.symbols)
    present = np.isfinite(panel.close)
    enough = present[:, -need:].all(axis=1) & (panel.close.shape[1] >= need)
    last = present[:, -1]
    begun = present.sum(axis=1)
    # A series that begins within the window is short; one with a hole in it is gapped.
    first = np.argmax(present, axis=1)
    short = (panel.close.shape[1] - first < need) | (begun < need)
    moving = np.ptp(np.nan_to_num(panel.close[:, -need:]), axis=1) > 0
    reasons = np.select(
        [~last, ~enough & short, ~enough, ~moving],
        [Abstain.STALE, Abstain.TOO_SHORT, Abstain.GAPPED, Abstain.CONSTANT],
        default=Abstain.NONE,
    )
    return tuple(str(reason) for reason in reasons)


def signals(
    panel: Panel, at: datetime, model: Agent | None = None, name: str | None = None
) -> Signals:
    """Return the model's signals for the whole batch, with abstentions where they belong.

    Without a model it is the untrained baseline; `name` is the model's own unless given.
    """
    agent = model or EwmaModel()
    reasons = part(panel, at, agent.need)
    fit = np.array([not reason for reason in reasons])
    side = np.zeros(len(reasons), dtype=np.int64)
    confidence = np.zeros(len(reasons))
    if fit.any():
        rise = agent.rise(panel if fit.all() else panel.rows(fit))
        side[fit] = np.sign(rise - 0.5).astype(np.int64)
        confidence[fit] = np.maximum(rise, 1 - rise)
    return Signals(name or agent.name, side, confidence, reasons)

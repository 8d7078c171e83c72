"""The model agents behind one port: a side and a confidence for each symbol, or an abstention.

Symbols are parted before the batch: what is too short, stale, gapped or standing still gets its
typed abstention, and one such symbol never aborts the others. The seed lost 289 predictions in
five minutes to shapes that did not fit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from homeostat.trading.market import port
from homeostat.trading.market.panel import Floats, Panel

#: Bars that a model reads, and bars that it looks ahead.
INPUT_BARS, HORIZON_BARS = 48, 60
#: The model that needs no training and is always there.
BASELINE = "ewma"


class Abstain(StrEnum):
    """Why no signal was given."""

    NONE = ""
    STALE = "STALE"
    GAPPED = "GAPPED"
    TOO_SHORT = "TOO_SHORT"
    CONSTANT = "CONSTANT"


@dataclass(frozen=True)
class EwmaModel:
    """Momentum: the difference of two exponential means of the log price, in its own deviations.

    `slope` turns that score into a probability (logistic); it is what training calibrates.
    """

    fast: float = 8.0
    slow: float = 30.0
    slope: float = 0.9

    def content(self) -> bytes:
        """Return the artefact's bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def of(cls, content: bytes) -> EwmaModel:
        """Return the model that those bytes hold; raises ValueError or TypeError otherwise."""
        return cls(**json.loads(content))


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


def scores(close: Floats, model: EwmaModel) -> Floats:
    """Return (n,) momentum scores of the last bar of (n, t) closes."""
    price = np.log(close[:, -INPUT_BARS:])
    ages = np.arange(price.shape[1])[::-1]
    weights = [0.5 ** (ages / span) for span in (model.fast, model.slow)]
    fast, slow = (price @ (weight / weight.sum()) for weight in weights)
    deviation = np.diff(price, axis=1).std(axis=1)
    found: Floats = (fast - slow) / np.maximum(deviation, 1e-12)
    return found


def probability(score: Floats, model: EwmaModel) -> Floats:
    """Return the probability that the side of the score is right, at least one half."""
    found: Floats = 1 / (1 + np.exp(-model.slope * np.abs(score)))
    return found


def signals(
    panel: Panel, at: datetime, model: EwmaModel | None = None, name: str = BASELINE
) -> Signals:
    """Return the model's signals for the whole batch, with abstentions where they belong."""
    agent = model or EwmaModel()
    reasons = part(panel, at)
    fit = np.array([not reason for reason in reasons])
    side = np.zeros(len(reasons), dtype=np.int64)
    confidence = np.zeros(len(reasons))
    if fit.any():
        score = scores(panel.close[fit], agent)
        side[fit] = np.sign(score).astype(np.int64)
        confidence[fit] = probability(score, agent)
    return Signals(name, side, confidence, reasons)

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
from homeostat.trading.market.panel import BAR_S, Floats, Panel
from homeostat.trading.models.agent import BASELINE, Agent, EwmaModel
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS, NEED_BARS

__all__ = [
    "BASELINE",
    "HORIZON_BARS",
    "INPUT_BARS",
    "NEED_BARS",
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
    #: The prices move, and nobody has traded at them.
    NO_VOLUME = "NO_VOLUME"
    #: The minutes of the panel are not one after another, or lie ahead of the moment.
    DISORDERED = "DISORDERED"
    #: The model is asked elsewhere, and what it said last is too old, or not about this symbol.
    STALE_PREDICTION = "STALE_PREDICTION"


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


def part(panel: Panel, at: datetime, need: int = NEED_BARS) -> tuple[str, ...]:
    """Return, for each symbol, why no model should be asked about it, or an empty text.

    A bar counts where its four prices are numbers above zero that fit together. What moves and is
    traded is seen in the bars that a model reads. Volume counts where the input tells of any at
    all: some recordings have prices only.
    """
    count = len(panel.symbols)
    age = port.age_s(panel, at)
    if age < 0 or (np.diff(panel.times) != BAR_S).any():
        # Minutes that repeat, run backwards or lie ahead belong to no moment.
        return (Abstain.DISORDERED.value,) * count
    if age > port.FRESH_S:
        return (Abstain.STALE.value,) * count
    cut, read = np.s_[:, -need:], np.s_[:, -INPUT_BARS:]
    # The newest bar alone says of nearly every symbol that it moves and is traded.
    closes, volumes = panel.close[read], panel.volume[read]
    moving, traded = closes[:, -1] != closes[:, 0], volumes[:, -1] != 0
    if not moving.all():
        moving = (closes != closes[:, :1]).any(axis=1)
    if not traded.all():
        traded = ~(volumes == 0).all(axis=1)
        if not traded.all() and not (panel.volume > 0).any():
            traded[:] = True
    if _all_sound(panel, cut) and len(panel.times) >= need and moving.all() and traded.all():
        return (Abstain.NONE.value,) * count
    sound = _sound(panel, cut)
    present = _sound(panel, np.s_[:, :])
    enough = sound.all(axis=1) & (panel.close.shape[1] >= need)
    # A series that begins within the window is short; one with a hole in it is gapped.
    first = np.argmax(present, axis=1)
    short = (panel.close.shape[1] - first < need) | (present.sum(axis=1) < need)
    reasons = np.select(
        [~present[:, -1], ~enough & short, ~enough, ~moving, ~traded],
        [
            Abstain.STALE,
            Abstain.TOO_SHORT,
            Abstain.GAPPED,
            Abstain.CONSTANT,
            Abstain.NO_VOLUME,
        ],
        default=Abstain.NONE,
    )
    return tuple(str(reason) for reason in reasons)


def _all_sound(panel: Panel, cut: tuple[slice, slice]) -> bool:
    """Whether every bar is sound; a few passes without an array say it of the usual batch."""
    opened, high, low, close = (
        one[cut] for one in (panel.open, panel.high, panel.low, panel.close)
    )
    # What is missing or infinite makes its sum so, and einsum takes the sum of a view fastest.
    whole = all(np.isfinite(np.einsum("ij->", one)) for one in (opened, high, close))
    return bool(whole and low.min(initial=1.0) > 0 and (high >= low).all())


def _sound(panel: Panel, cut: tuple[slice, slice]) -> NDArray[np.bool_]:
    opened, high, low, close = (
        one[cut] for one in (panel.open, panel.high, panel.low, panel.close)
    )
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(opened + high + low + close)
        found: NDArray[np.bool_] = finite & (low > 0) & (high >= low)
    return found


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
        said = np.isfinite(rise)
        if not said.all():
            fit[np.flatnonzero(fit)[~said]] = False
            rise = rise[said]
            silent = Abstain.STALE_PREDICTION.value
            pairs = zip(reasons, fit.tolist(), strict=True)
            reasons = tuple(reason or ("" if one else silent) for reason, one in pairs)
        side[fit] = np.sign(rise - 0.5).astype(np.int64)
        confidence[fit] = np.maximum(rise, 1 - rise)
    return Signals(name or agent.name, side, confidence, reasons)

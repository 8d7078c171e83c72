"""Trains the momentum model on recorded bars, and measures it where it was not trained."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import validation
from homeostat.trading.signals import HORIZON_BARS, INPUT_BARS, EwmaModel, probability

#: The spans (fast, slow) that training may choose from; each is one try at being lucky.
SPANS = tuple(product((4.0, 8.0, 16.0), (24.0, 40.0)))
#: A round trip's fees as a fraction of the price.
FEE = 0.001
_FOLDS = 4


@dataclass(frozen=True)
class Trained:
    """A trained model and what it did out of sample: one entry a signal, after fees."""

    model: EwmaModel
    returns: Floats
    brier: float
    calibration_error: float
    tries: int
    variance_of_tries: float

    @property
    def deflated_sharpe(self) -> float:
        """The probability that the model is better than luck."""
        return validation.deflated_sharpe(self.returns, self.tries, self.variance_of_tries)

    def metrics(self) -> dict[str, float]:
        """Return what the promotion is judged by."""
        return {
            "samples": float(len(self.returns)),
            "mean_return": float(self.returns.mean()) if len(self.returns) else 0.0,
            "sharpe": validation.sharpe(self.returns),
            "deflated_sharpe": self.deflated_sharpe,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
        }


@dataclass(frozen=True)
class _Samples:
    score: Floats
    future: Floats

    def part(self, where: slice) -> _Samples:
        return _Samples(self.score[:, where], self.future[:, where])


def _samples(close: Floats, model: EwmaModel, step: int) -> _Samples:
    """Return scores and the returns that followed, every `step` bars, (n, m) each."""
    price = np.log(close)
    ends = np.arange(INPUT_BARS, price.shape[1] - HORIZON_BARS, step)
    ages = np.arange(INPUT_BARS)[::-1]
    weights = np.stack([0.5 ** (ages / span) for span in (model.fast, model.slow)])
    weights /= weights.sum(axis=1, keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(price, INPUT_BARS, axis=1)[
        :, ends - INPUT_BARS
    ]
    means = windows @ (weights[0] - weights[1])
    deviation = np.diff(windows, axis=2).std(axis=2)
    future = price[:, ends - 1 + HORIZON_BARS] - price[:, ends - 1]
    return _Samples(means / np.maximum(deviation, 1e-12), future)


def _slope(samples: _Samples) -> float:
    """Return the logistic slope that fits best, by a few Newton steps from zero."""
    x = np.abs(samples.score).ravel()
    y = (np.sign(samples.score) == np.sign(samples.future)).ravel().astype(float)
    slope = 0.0
    for _ in range(12):
        p = 1 / (1 + np.exp(-slope * x))
        curvature = float((x * x * p * (1 - p)).sum())
        slope += float((x * (y - p)).sum()) / max(curvature, 1e-9)
    # A negative slope would mean the opposite of the model; it then has nothing to say.
    return float(np.clip(slope, 0.0, 5.0))


def _outcome(samples: _Samples) -> Floats:
    # One mean a moment: symbols at the same moment are no independent tries.
    found: Floats = (np.sign(samples.score) * samples.future).mean(axis=0) - FEE
    return found


def train(panel: Panel, step: int = HORIZON_BARS) -> Trained:
    """Choose spans and slope by purged walk-forward, and measure them out of sample.

    Rows with missing bars are left out. Raises ValueError where too little is left.
    """
    close = panel.close[np.isfinite(panel.close).all(axis=1)]
    if not len(close) or close.shape[1] < INPUT_BARS + HORIZON_BARS * (_FOLDS + 2):
        raise ValueError("there are too few whole series to train on")
    embargo = -(-HORIZON_BARS // step)
    candidates = []
    for fast, slow in SPANS:
        samples = _samples(close, EwmaModel(fast, slow), step)
        folds = list(validation.walk_forward(samples.score.shape[1], _FOLDS, embargo))
        tests = [samples.part(test) for _, test in folds]
        slopes = [_slope(samples.part(before)) for before, _ in folds]
        returns = np.concatenate([_outcome(test) for test in tests])
        candidates.append((validation.sharpe(returns), fast, slow, samples, tests, slopes, returns))
    ratios = [one[0] for one in candidates]
    _, fast, slow, samples, tests, slopes, returns = max(candidates, key=lambda one: one[0])
    confidence, won = _judged(tests, slopes)
    return Trained(
        EwmaModel(fast, slow, _slope(samples)),
        returns,
        validation.brier(confidence, won),
        validation.calibration_error(confidence, won),
        len(SPANS),
        float(np.var(ratios)),
    )


def _judged(tests: list[_Samples], slopes: list[float]) -> tuple[Floats, Floats]:
    confidence = [
        probability(test.score.ravel(), EwmaModel(slope=slope))
        for test, slope in zip(tests, slopes, strict=True)
    ]
    won = [(np.sign(test.score) == np.sign(test.future)).ravel() for test in tests]
    return np.concatenate(confidence), np.concatenate(won).astype(float)

"""How a model's scores are calibrated and judged: the same for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homeostat.trading.market.panel import Floats
from homeostat.trading.models import validation
from homeostat.trading.models.agent import Agent, chance

#: A round trip's fees as a fraction of the price.
FEE = 0.001


@dataclass(frozen=True)
class Samples:
    """Signed scores and the log returns that followed, (n, m) each: n symbols at m moments."""

    score: Floats
    future: Floats

    def part(self, where: slice) -> Samples:
        """Return the moments of a slice."""
        return Samples(self.score[:, where], self.future[:, where])


@dataclass(frozen=True)
class Trained:
    """A trained model and what it did out of sample: one return a moment, after fees."""

    model: Agent
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
            "tries": float(self.tries),
        }


@dataclass(frozen=True)
class Best:
    """The best of several tries: its place among them, and what it said out of sample."""

    place: int
    returns: Floats
    confidence: Floats
    won: Floats
    tries: int
    variance_of_tries: float

    def trained(self, model: Agent) -> Trained:
        """Return the model, fitted anew on everything, with what its try had shown."""
        return Trained(
            model,
            self.returns,
            validation.brier(self.confidence, self.won),
            validation.calibration_error(self.confidence, self.won),
            self.tries,
            self.variance_of_tries,
        )


def slope(samples: Samples) -> float:
    """Return the logistic slope that fits best, by a few Newton steps from zero."""
    x = np.abs(samples.score).ravel()
    y = (np.sign(samples.score) == np.sign(samples.future)).ravel().astype(float)
    found = 0.0
    for _ in range(12):
        p = 1 / (1 + np.exp(-np.clip(found * x, -50, 50)))
        curvature = float((x * x * p * (1 - p)).sum())
        found += float((x * (y - p)).sum()) / max(curvature, 1e-9)
    # A negative slope would mean the opposite of the model; it then has nothing to say.
    return float(np.clip(found, 0.0, 5.0))


def outcome(samples: Samples) -> Floats:
    """Return (m,) what following every score would have earned, after fees."""
    # One mean a moment: symbols at the same moment are no independent tries.
    found: Floats = (np.sign(samples.score) * samples.future).mean(axis=0) - FEE
    return found


def pooled(tests: Sequence[Samples]) -> Samples:
    """Return the samples of several tests as one."""
    return Samples(
        np.concatenate([one.score for one in tests], axis=1),
        np.concatenate([one.future for one in tests], axis=1),
    )


def judged(tests: Sequence[Samples], slopes: Sequence[float]) -> tuple[Floats, Floats]:
    """Return every test's confidences and whether each came true."""
    confidence = [
        chance(np.abs(test.score).ravel(), one) for test, one in zip(tests, slopes, strict=True)
    ]
    won = [(np.sign(test.score) == np.sign(test.future)).ravel() for test in tests]
    return np.concatenate(confidence), np.concatenate(won).astype(float)


def best_of(tries: Sequence[tuple[list[Samples], list[float]]]) -> Best:
    """Return the try with the best Sharpe ratio; a try is its test samples and slopes by fold."""
    returns = [np.concatenate([outcome(test) for test in tests]) for tests, _ in tries]
    ratios = [validation.sharpe(one) for one in returns]
    place = int(np.argmax(ratios))
    return Best(place, returns[place], *judged(*tries[place]), len(tries), float(np.var(ratios)))

"""Trains the models on bars, and measures each where it was not trained.

Purged walk-forward: every fold is fitted on what lies before it, an embargo as long as the
horizon apart, and judged on what comes after. Each set of parameters is one try at being lucky.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from pydantic import JsonValue

from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import deep, drift, features, scoring, validation
from homeostat.trading.models.agent import BASELINE, BOOSTED, EwmaModel
from homeostat.trading.models.boosted import BoostedModel, library
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS
from homeostat.trading.models.scoring import Samples, Trained

#: The spans (fast, slow) that the baseline's training may choose from.
SPANS = tuple(product((4.0, 8.0, 16.0), (24.0, 40.0)))
#: LightGBM's leaves and rounds that training may choose from.
SHAPES = ((4, 40), (8, 40), (8, 80))
#: The same bars and the same seed give the same bytes.
SEED = 20251123
#: Bars between two training samples of LightGBM; the judged ones are a horizon apart.
STEP = 15
_FOLDS = 4


def train(panel: Panel, name: str = BASELINE) -> Trained:
    """Train the model of that name; rows with missing bars are left out.

    Raises ValueError where too little is left or no such model is trained here, and
    ModelUnavailableError where its library is missing.
    """
    whole = np.isfinite(panel.close).all(axis=1)
    close, volume = panel.close[whole], panel.volume[whole]
    if not len(close) or close.shape[1] < INPUT_BARS + HORIZON_BARS * (_FOLDS + 2):
        raise ValueError("there are too few whole series to train on")
    if name == BASELINE:
        return _baseline(close)
    if name == BOOSTED:
        return _boosted(close, volume)
    if name in deep.NAMES:
        return deep.train(close, name)
    raise ValueError(f"there is no training for a model named {name}")


def ground(panel: Panel) -> dict[str, JsonValue]:
    """Return what a model was trained on, for PSI and regime: its inputs and its market."""
    whole = np.isfinite(panel.close).all(axis=1) & (np.ptp(np.nan_to_num(panel.close), axis=1) > 0)
    close, volume = panel.close[whole], panel.volume[whole]
    ends = _ends(close, STEP)
    rows = features.features(features.windows(close, ends), features.windows(volume, ends))
    reference = drift.reference(rows.reshape(-1, rows.shape[-1]))
    return {"features": reference, "regime": drift.regime(panel)}


def future(close: Floats, ends: np.ndarray) -> Floats:
    """Return (n, m) log returns over the horizon after each of `ends` (m,)."""
    price = np.log(close)
    found: Floats = price[:, ends - 1 + HORIZON_BARS] - price[:, ends - 1]
    return found


def _ends(close: Floats, step: int) -> np.ndarray:
    return np.arange(INPUT_BARS, close.shape[1] - HORIZON_BARS, step)


def _baseline(close: Floats) -> Trained:
    """Choose spans and slope, and measure them out of sample."""
    ends = _ends(close, HORIZON_BARS)
    seen, after = features.windows(np.log(close), ends), future(close, ends)
    whole, tries = [], []
    for fast, slow in SPANS:
        samples = Samples(features.momentum(seen, fast, slow), after)
        folds = list(validation.walk_forward(samples.score.shape[1], _FOLDS, 1))
        tests = [samples.part(test) for _, test in folds]
        tries.append((tests, [scoring.slope(samples.part(before)) for before, _ in folds]))
        whole.append(samples)
    best = scoring.best_of(tries)
    model = EwmaModel(*SPANS[best.place], scoring.slope(whole[best.place]))
    return best.trained(model)


@dataclass(frozen=True)
class Rows:
    """Features (n, m, f) and the returns that followed (n, m)."""

    x: Floats
    future: Floats

    def part(self, where: slice) -> Rows:
        """Return the moments of a slice."""
        return Rows(self.x[:, where], self.future[:, where])


def _boosted(close: Floats, volume: Floats) -> Trained:
    """Choose leaves and rounds, and measure them out of sample; the last fit sees everything."""
    ends = _ends(close, STEP)
    seen = features.windows(close, ends), features.windows(volume, ends)
    rows = Rows(features.features(*seen), future(close, ends))
    apart = HORIZON_BARS // STEP
    folds = list(validation.walk_forward(rows.future.shape[1], _FOLDS, apart))
    tries = []
    for shape in SHAPES:
        # The trees' own margins in training say nothing of how sure they may be: the slope of a
        # fold comes from the folds before it, and the first one says one half throughout.
        tests: list[Samples] = []
        slopes: list[float] = []
        for before, test in folds:
            # Each fold's last label looks into the next one and is purged.
            known = [one.part(slice(0, -1)) for one in tests]
            slopes.append(scoring.slope(scoring.pooled(known)) if known else 0.0)
            model = BoostedModel(fit(rows.part(before), *shape), 1.0)
            tests.append(scored(model, rows.part(slice(test.start, test.stop, apart))))
        tries.append((tests, slopes))
    best = scoring.best_of(tries)
    trees = fit(rows, *SHAPES[best.place])
    return best.trained(BoostedModel(trees, scoring.slope(scoring.pooled(tries[best.place][0]))))


def scored(model: BoostedModel, rows: Rows) -> Samples:
    """Return the model's margins on the rows, beside what followed."""
    margins = model.margins(rows.x.reshape(-1, rows.x.shape[-1]))
    return Samples(margins.reshape(rows.future.shape), rows.future)


def fit(rows: Rows, leaves: int, rounds: int, least: int | None = None) -> str:
    """Fit trees to the sign of the future and return their text, the same for the same rows.

    `least` is how many samples a leaf must hold; 1 % of them unless given.
    """
    lightgbm: Any = library()
    moved = rows.future.ravel() != 0
    x, y = rows.x.reshape(-1, rows.x.shape[-1])[moved], rows.future.ravel()[moved] > 0
    parameters = {
        "objective": "binary",
        # The margin starts at zero, so that a rise of the whole market is no side of its own.
        "boost_from_average": False,
        "num_leaves": leaves,
        "learning_rate": 0.05,
        "min_data_in_leaf": least or max(20, len(y) // 100),
        "lambda_l2": 10.0,
        "feature_fraction": 0.8,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, label=y.astype(np.float64), feature_name=list(features.NAMES))
    found: str = lightgbm.train(parameters, data, num_boost_round=rounds).model_to_string()
    return found

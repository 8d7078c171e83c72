"""N-HiTS and PatchTST as agents: the extra `deep` (neuralforecast on PyTorch, CPU, one thread).

PyTorch takes half a gigabyte, so nothing here is imported before it is asked for, and it is
asked for only on the queue `models`. The artefact is the weights as text: no pickle is ever read.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from pydantic import JsonValue

from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import features, scoring, validation
from homeostat.trading.models.agent import ModelUnavailableError, chance
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS, NEED_BARS
from homeostat.trading.models.scoring import Samples, Trained

NHITS, PATCHTST = "nhits", "patchtst"
NAMES = (NHITS, PATCHTST)
SEED = 20251123
#: Optimiser steps of one fit; a step sees 256 windows.
STEPS = 150
_FOLDS = 2
#: Sizes that 222 symbols of a day and a half can fill; the library's own are for a thousand times
#: as many bars.
_SIZES: Mapping[str, Mapping[str, Any]] = {
    NHITS: {"mlp_units": [[64, 64]] * 3, "learning_rate": 1e-3},
    PATCHTST: {
        "encoder_layers": 2,
        "n_heads": 4,
        "hidden_size": 32,
        "linear_hidden_size": 64,
        "patch_len": 8,
        "stride": 4,
        "learning_rate": 1e-3,
    },
}
_QUIET = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def installed() -> bool:
    """Return whether the extra is there, without loading it."""
    return importlib.util.find_spec("neuralforecast") is not None


def present() -> None:
    """Raise ModelUnavailableError where the extra is not there; nothing of it is loaded."""
    if not installed():
        raise ModelUnavailableError(
            "LIBRARY_MISSING", "neuralforecast is missing; install homeostat[deep]."
        )


def library() -> Any:
    """Return neuralforecast's models, on one thread; raises ModelUnavailableError."""
    try:
        networks = importlib.import_module("neuralforecast.models")
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        raise ModelUnavailableError(
            "LIBRARY_MISSING",
            f"neuralforecast cannot be loaded ({error}); install homeostat[deep].",
        ) from error
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return networks


def _made(name: str, steps: int) -> Any:
    kinds = {NHITS: "NHITS", PATCHTST: "PatchTST"}
    kind = getattr(library(), kinds[name])
    return kind(
        h=HORIZON_BARS,
        input_size=INPUT_BARS,
        max_steps=steps,
        scaler_type="standard",
        windows_batch_size=256,
        random_seed=SEED,
        **_SIZES[name],
        **_QUIET,
    )


def _dataset(series: Floats) -> Any:
    """Return the library's data set of (k, t) series."""
    pandas = importlib.import_module("pandas")
    kind = importlib.import_module("neuralforecast.tsdataset").TimeSeriesDataset
    count, bars = series.shape
    values = np.stack([series.ravel(), np.ones(series.size)], axis=1)
    return kind(
        temporal=values.astype(np.float32),
        temporal_cols=pandas.Index(["y", "available_mask"]),
        indptr=np.arange(count + 1) * bars,
        y_idx=0,
    )


@dataclass(frozen=True)
class DeepModel:
    """A network's weights, and the slope that calibrates the change that it forecasts."""

    kind: str
    weights: str = field(repr=False)
    slope: float
    need: ClassVar[int] = NEED_BARS

    @property
    def name(self) -> str:
        """`nhits` or `patchtst`."""
        return self.kind

    def scores(self, windows: Floats) -> Floats:
        """Return (k,) forecast changes of (k, 48) log prices, in deviations over the horizon."""
        ahead = _network(self.kind, self.weights).predict(dataset=_dataset(windows))
        change = (
            np.asarray(ahead, dtype=np.float64).reshape(len(windows), -1)[:, -1] - windows[:, -1]
        )
        deviation = np.diff(windows, axis=1).std(axis=1) * np.sqrt(HORIZON_BARS)
        found: Floats = change / np.maximum(deviation, 1e-12)
        return found

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) calibrated probabilities of a rise; raises ModelUnavailableError."""
        return chance(self.scores(np.log(panel.close[:, -INPUT_BARS:])), self.slope)

    def content(self) -> bytes:
        """Return the artefact's bytes."""
        whole = {"kind": self.kind, "slope": self.slope, "weights": json.loads(self.weights)}
        return json.dumps(whole, sort_keys=True).encode()

    def reference(self) -> dict[str, JsonValue]:
        """Return the digest by which the artefact is found."""
        return {"name": self.kind, "sha256": hashlib.sha256(self.content()).hexdigest()}

    @classmethod
    def of(cls, content: bytes) -> DeepModel:
        """Return the model that those bytes hold; raises ValueError, TypeError or KeyError."""
        whole = json.loads(content)
        weights = json.dumps(whole["weights"], sort_keys=True)
        return cls(whole["kind"], weights, whole["slope"])


@lru_cache(maxsize=2)
def _network(kind: str, weights: str) -> Any:
    network = _made(kind, 1)
    network.load_state_dict(_tensors(json.loads(weights)))
    return network


def _tensors(packed: Mapping[str, Any]) -> dict[str, Any]:
    torch = importlib.import_module("torch")
    found = {}
    for name, (dtype, shape, text) in packed.items():
        values = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape)
        found[name] = torch.from_numpy(values.copy())
    return found


def _packed(network: Any) -> str:
    packed = {}
    for name, tensor in network.state_dict().items():
        values = tensor.detach().cpu().numpy()
        text = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
        packed[name] = [str(values.dtype), list(values.shape), text]
    return json.dumps(packed, sort_keys=True)


def _fit(price: Floats, name: str, steps: int) -> DeepModel:
    """Fit a network on (n, t) log prices; the same prices give the same weights."""
    network = _made(name, steps)
    network.fit(dataset=_dataset(price), random_seed=SEED)
    return DeepModel(name, _packed(network), 1.0)


def train(close: Floats, name: str, steps: int = STEPS) -> Trained:
    """Train the network of that name by purged walk-forward, as the other models are."""
    price = np.log(close)
    ends = np.arange(INPUT_BARS, close.shape[1] - HORIZON_BARS, HORIZON_BARS)
    after = price[:, ends - 1 + HORIZON_BARS] - price[:, ends - 1]
    seen = features.windows(price, ends)
    tests: list[Samples] = []
    slopes: list[float] = []
    for before, test in validation.walk_forward(len(ends), _FOLDS, 1):
        # What lies before the embargo, in bars: no label of the training reaches the test.
        model = _fit(price[:, : ends[before.stop - 1]], name, steps)
        rows = seen[:, test]
        score = model.scores(rows.reshape(-1, INPUT_BARS)).reshape(rows.shape[:2])
        known = [one.part(slice(0, -1)) for one in tests]
        slopes.append(scoring.slope(scoring.pooled(known)) if known else 0.0)
        tests.append(Samples(score, after[:, test]))
    best = scoring.best_of([(tests, slopes)])
    final = _fit(price, name, steps)
    return best.trained(DeepModel(name, final.weights, scoring.slope(scoring.pooled(tests))))

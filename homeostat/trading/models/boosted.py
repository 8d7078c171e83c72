"""LightGBM as an agent: its trees as text, so that the artefact is bytes that anyone can read.

The library is imported at the first prediction and not before: it brings SciPy, 30 MB in each
process, and needs the system's libgomp1. Where it cannot be loaded the reason is typed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import JsonValue

from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import features
from homeostat.trading.models.agent import BOOSTED, ModelUnavailableError, chance
from homeostat.trading.models.features import INPUT_BARS, NEED_BARS


def library() -> Any:
    """Return the lightgbm module; raises ModelUnavailableError where it cannot be loaded."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        # An OSError is the dynamic loader's: libgomp.so.1 is missing.
        raise ModelUnavailableError(
            "LIBRARY_MISSING",
            f"LightGBM cannot be loaded ({error}); install libgomp1, see `homeostat doctor`.",
        ) from error
    return lightgbm


@lru_cache(maxsize=4)
def _booster(trees: str) -> Any:
    return library().Booster(model_str=trees)


@dataclass(frozen=True)
class BoostedModel:
    """Gradient-boosted trees over the features, and the slope that calibrates their margin."""

    trees: str = field(repr=False)
    slope: float
    name: ClassVar[str] = BOOSTED
    need: ClassVar[int] = NEED_BARS

    def margins(self, rows: Floats) -> Floats:
        """Return (k,) raw log-odds of (k, 12) features, by one thread."""
        found: Floats = _booster(self.trees).predict(rows, raw_score=True, num_threads=1)
        return found

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) calibrated probabilities; raises ModelUnavailableError."""
        cut = panel.close[:, -INPUT_BARS:], panel.volume[:, -INPUT_BARS:]
        return chance(self.margins(features.features(*cut)), self.slope)

    def content(self) -> bytes:
        """Return the artefact's bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def reference(self) -> dict[str, JsonValue]:
        """Return the digest by which the artefact is found."""
        return {"name": BOOSTED, "sha256": hashlib.sha256(self.content()).hexdigest()}

    @classmethod
    def of(cls, content: bytes) -> BoostedModel:
        """Return the model that those bytes hold; raises ValueError or TypeError otherwise."""
        return cls(**json.loads(content))

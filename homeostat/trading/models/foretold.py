"""A model that a ticking worker cannot load, by what it said on the queue `models`.

The flow reads its newest batch and asks how old it is; what is too old, or was never said, is no
prediction. The reference names the batch, so that a decision is derived anew from the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from pydantic import JsonValue

from homeostat.store.trading import ModelPrediction
from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.market.port import FRESH_S
from homeostat.trading.models.features import NEED_BARS


@dataclass(frozen=True)
class Foretold:
    """A champion's stored predictions as an agent; `bar` is the newest bar that it saw, or -1."""

    kind: str
    sha256: str
    bar: int = -1
    rises: Mapping[str, float] = field(default_factory=dict, repr=False)
    need: ClassVar[int] = NEED_BARS

    @classmethod
    def of(cls, kind: str, sha256: str, said: ModelPrediction | None) -> Foretold:
        """Return the agent of a batch; without one it says nothing of any symbol."""
        return cls(kind, sha256) if said is None else cls(kind, sha256, said.bar, said.rises)

    @property
    def name(self) -> str:
        """The name of the model that said it."""
        return self.kind

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) what was said of each symbol, NaN where that is nothing fresh.

        A batch of a bar that the panel does not hold yet knows the future, and is not used.
        """
        behind = int(panel.times[-1]) - self.bar
        if not 0 <= behind <= FRESH_S:
            return np.full(len(panel.symbols), np.nan)
        return np.array([self.rises.get(symbol, np.nan) for symbol in panel.symbols])

    def content(self) -> bytes:
        """Return the reference: the artefact's own bytes stay where they are."""
        return json.dumps(self.reference(), sort_keys=True).encode()

    def reference(self) -> dict[str, JsonValue]:
        """Return the artefact's digest and the bar of the batch."""
        return {"name": self.kind, "sha256": self.sha256, "bar": self.bar}

"""The port that every model stands behind, the untrained baseline, and the ensemble of several.

An agent gives each symbol a probability that its price is higher after the horizon. Its artefact
is bytes; its reference is what the journal keeps, so that a decision can be derived anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from pydantic import JsonValue

from homeostat.errors import HomeostatError
from homeostat.trading.market.panel import Floats, Panel
from homeostat.trading.models import features
from homeostat.trading.models.features import INPUT_BARS, NEED_BARS

#: The model that needs no training and is always there.
BASELINE = "ewma"
BOOSTED = "lightgbm"
ENSEMBLE = "ensemble"


#: No model is ever surer than this: one label in a thousand is a gap or a delisting.
CERTAIN = 0.999


class ModelUnavailableError(HomeostatError):
    """A model cannot be used here; `reason` is typed, and the baseline takes its place."""

    def __init__(self, reason: str, message: str) -> None:
        """Take the typed reason (`LIBRARY_MISSING`, `ARTIFACT_CORRUPT`) and one sentence."""
        super().__init__(message)
        self.reason = reason


class Agent(Protocol):
    """A model as the flow meets it; `need` is the contiguous bars without which it abstains."""

    @property
    def name(self) -> str:
        """The name that signals, outcomes and artefacts carry."""

    @property
    def need(self) -> int:
        """How many contiguous bars a symbol must have."""

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) calibrated probabilities of a rise over the horizon; no bar is missing.

        NaN says that the agent has nothing fresh to say of that symbol.
        """

    def content(self) -> bytes:
        """Return the artefact's bytes."""

    def reference(self) -> dict[str, JsonValue]:
        """Return what the journal keeps of it."""


def chance(score: Floats, slope: float) -> Floats:
    """Return the logistic probability of a signed score; training calibrates the slope."""
    found: Floats = np.clip(1 / (1 + np.exp(-slope * score)), 1 - CERTAIN, CERTAIN)
    return found


@dataclass(frozen=True)
class EwmaModel:
    """Momentum: the difference of two exponential means of the log price, in its own deviations.

    `slope` turns that score into a probability (logistic); it is what training calibrates.
    """

    fast: float = 8.0
    slow: float = 30.0
    slope: float = 0.9
    name: ClassVar[str] = BASELINE
    need: ClassVar[int] = NEED_BARS

    def scores(self, close: Floats) -> Floats:
        """Return (n,) momentum scores of the last bar of (n, t) closes."""
        return features.momentum(np.log(close[:, -INPUT_BARS:]), self.fast, self.slow)

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) calibrated probabilities of a rise."""
        return chance(self.scores(panel.close), self.slope)

    def content(self) -> bytes:
        """Return the artefact's bytes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def reference(self) -> dict[str, JsonValue]:
        """Return the parameters: they are the whole model."""
        return {"name": BASELINE, **asdict(self)}

    @classmethod
    def of(cls, content: bytes) -> EwmaModel:
        """Return the model that those bytes hold; raises ValueError or TypeError otherwise."""
        return cls(**json.loads(content))


@dataclass(frozen=True)
class Ensemble:
    """Several agents' equally weighted mean probability; who says nothing of a symbol is left out.

    Equal weights: weights fitted on a few hundred labels lose more by their own error than they
    win (the forecast combination puzzle; Smith and Wallis, 2009).
    """

    members: tuple[Agent, ...]
    #: Champions that are left out, and the typed reason of each.
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The only member's own name, so that its record goes on; else `ensemble`."""
        return self.members[0].name if len(self.members) == 1 else ENSEMBLE

    @property
    def need(self) -> int:
        """As many bars as its neediest member."""
        return max(one.need for one in self.members)

    def rise(self, panel: Panel) -> Floats:
        """Return (n,) mean probabilities of a rise; NaN where no member says anything."""
        said = np.array([one.rise(panel) for one in self.members])
        known = np.isfinite(said)
        count = known.sum(axis=0)
        total = np.where(known, said, 0.0).sum(axis=0)
        found: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return found

    def content(self) -> bytes:
        """Return the references; an ensemble has no artefact of its own."""
        return json.dumps(self.reference(), sort_keys=True).encode()

    def reference(self) -> dict[str, JsonValue]:
        """Return the members' references."""
        members = [one.reference() for one in self.members]
        return {"name": ENSEMBLE, "members": [*members], "absent": dict(self.absent)}

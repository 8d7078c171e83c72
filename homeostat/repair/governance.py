"""Whether a proven patch may be applied without a person: the evidence rule and the mode.

Freeze, budget and breaker belong to `kernels.governance`, which hands its own gate in; it is
asked last, because asking counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from homeostat.repair.case import Candidate, DefectClass, Origin, Side
from homeostat.settings import Mode

#: Proven successes after which a known fix is replayed although its class waits for a person.
TRUSTED_AFTER = 1
#: As many are asked of a patch that a language model wrote; a person applies it until then.
MODEL_TRUSTED_AFTER = 3
#: The strategy whose patches a model writes.
MODEL = "language_model"
_PROPOSALS_ONLY = {
    DefectClass.MISSING_NONE_GUARD, DefectClass.MISSING_KEY, DefectClass.LENGTH_MISMATCH,
    DefectClass.CONFIGURATION_DRIFT,
}  # fmt: skip


class Ruling(StrEnum):
    """What governance says of a proven patch."""

    APPLY = "apply"
    WAIT = "wait"


@dataclass(frozen=True)
class Verdict:
    """A ruling and its reason."""

    ruling: Ruling
    reason: str


Gate = Callable[[Candidate, Mode, int], Verdict]


def policy_gate(candidate: Candidate, mode: Mode, successes: int) -> Verdict:
    """Rule by the evidence alone; `successes` counts this fix's earlier uses."""
    if mode is not Mode.ENFORCED:
        return Verdict(Ruling.WAIT, f"the mode is {mode.value}")
    if candidate.origin is Origin.KNOWLEDGE:
        model = candidate.strategy == MODEL
        if successes >= (MODEL_TRUSTED_AFTER if model else TRUSTED_AFTER):
            return Verdict(Ruling.APPLY, f"a replay of a fix proven {successes} times")
        return Verdict(Ruling.WAIT, "the known fix has not been approved or applied yet")
    if candidate.defect in _PROPOSALS_ONLY and candidate.origin is not Origin.HISTORY:
        return Verdict(Ruling.WAIT, "guards are proposals only")
    if candidate.side is not Side.API:
        return Verdict(Ruling.WAIT, "what adapts to an installed package is a person's choice")
    if candidate.rule:
        return Verdict(Ruling.APPLY, candidate.rule)
    return Verdict(Ruling.WAIT, candidate.waits_because or "no evidence rule covers it")

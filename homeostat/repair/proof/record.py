"""What a proof leaves behind: its steps, in order, and what was on to protect the host."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True)
class Step:
    """One step: what was claimed, whether it held, and what was seen."""

    name: str
    passed: bool
    detail: str
    seconds: float = 0.0
    observed: dict[str, JsonValue] = field(default_factory=dict)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the step for storage and output."""
        return {
            "name": self.name,
            "passed": self.passed,
            "detail": self.detail,
            "seconds": round(self.seconds, 3),
            "observed": self.observed,
        }


@dataclass(frozen=True)
class Proof:
    """All steps that were taken; it holds where each of them does."""

    steps: tuple[Step, ...]
    isolation: str
    protections: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether there are steps and all of them passed."""
        return bool(self.steps) and all(step.passed for step in self.steps)

    @property
    def refusal(self) -> str:
        """The first failed step in words, empty where the proof holds."""
        return next((f"{step.name}: {step.detail}" for step in self.steps if not step.passed), "")

    @property
    def doubts(self) -> tuple[str, ...]:
        """Tests that the failure kept from passing and that fail with the patch too."""
        told = [step.observed.get("doubts") for step in self.steps]
        found = [str(one) for item in told if isinstance(item, list) for one in item]
        return tuple(dict.fromkeys(found))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the proof for storage and output."""
        return {
            "holds": self.holds,
            "refusal": self.refusal,
            "isolation": self.isolation,
            "protections": list(self.protections),
            "steps": [step.as_json() for step in self.steps],
        }

"""What a chaos scenario is, and what became of one: data only.

The words are those of the chaos field (steady state, method, probe, rollback), so that
`homeostat.chaos.journal` can write both in the format of the Chaos Toolkit.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Severity(StrEnum):
    """How hard a fault hits; a wave holds scenarios of one severity."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


class Outcome(StrEnum):
    """How a scenario ended; only PASS is success.

    INVALID: the fault was not proven to have happened, or the control did not fail.
    """

    PASS = "PASS"  # noqa: S105  # an outcome, no password
    FAIL = "FAIL"
    INVALID = "INVALID"
    SKIPPED = "SKIPPED"


class Remedy(StrEnum):
    """What must bring the system back; the engine looks for its traces outside the system's word.

    `redelivery`: the lost child's message is delivered again and the pool is whole again.
    `process_restart`: the supervisor starts the process anew, under a new pid.
    """

    REDELIVERY = "redelivery"
    PROCESS_RESTART = "process_restart"
    RESUME = "resume"
    QUARANTINE = "quarantine"
    OUTBOX_RESEND = "outbox_resend"
    DEDUPLICATION = "deduplication"
    WAIT_AND_RETRY = "wait_and_retry"
    TIME_LIMIT = "time_limit"


class Scenario(BaseModel):
    """One fault with its hypothesis: who must notice, what must heal, within how many seconds.

    `noticed_by` is matched against the incidents' component and source: `worker:lost`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Z]\d+$")
    group: str
    title: str
    severity: Severity
    fault: str
    target: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    hypothesis: str
    noticed_by: str
    remedy: Remedy
    bound_s: float = Field(gt=0, description="Seconds from the fault to steady state again.")
    bound_source: str = Field(description="Where the bound comes from.")
    rollback: str
    control: str = Field(description="What is switched off in the control run, in words.")
    weight: float = Field(1.0, gt=0)
    incompatible: tuple[str, ...] = Field((), description="Scenarios that must not run beside it.")


class Proof(BaseModel):
    """What was looked at, and whether it held."""

    model_config = ConfigDict(extra="forbid")

    claim: str
    held: bool
    observed: dict[str, JsonValue] = Field(default_factory=dict)
    at: datetime


class FaultWindow(BaseModel):
    """When a declared fault was in force, until steady state was seen again."""

    model_config = ConfigDict(extra="forbid")

    scenario: str
    start: datetime
    end: datetime

    def covers(self, moment: datetime) -> bool:
        """Return whether the moment lies in the window."""
        return self.start <= moment <= self.end


class Step(BaseModel):
    """One line of the scenario's timeline."""

    model_config = ConfigDict(extra="forbid")

    at: datetime
    seconds: float = Field(description="Since the fault; negative before it.")
    what: str
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class ControlResult(BaseModel):
    """The same scenario with its recovery switched off; it must have failed."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    failed_as_it_must: bool
    reasons: list[str]
    revision: str
    ran_at: datetime
    cached: bool


class ScenarioResult(BaseModel):
    """What became of one scenario. Seconds are counted from the fault; None: not seen."""

    model_config = ConfigDict(extra="forbid")

    id: str
    title: str
    group: str
    wave: int
    severity: Severity
    outcome: Outcome
    reasons: list[str] = Field(default_factory=list, description="Why it is not PASS.")
    steady_before: Proof | None = None
    happened: Proof | None = None
    noticed: Proof | None = None
    healed: Proof | None = None
    steady_after: Proof | None = None
    rolled_back: Proof | None = None
    lost: int | None = None
    doubled: int | None = None
    detect_s: float | None = None
    restart_s: float | None = None
    first_effect_s: float | None = None
    drained_s: float | None = None
    heal_s: float | None = Field(None, description="Until steady state was seen again.")
    bound_s: float
    control: ControlResult | None = None
    window: FaultWindow | None = None
    timeline: list[Step] = Field(default_factory=list)
    forensics: str = Field("", description="The folder, relative to the state folder.")

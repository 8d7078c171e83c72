"""The part of the boot report that the stress report shows; its other keys are ignored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class BootRecord(BaseModel):
    """A part of the boot report, of which only what the stress report shows is taken."""

    model_config = ConfigDict(extra="ignore")


class TierRow(BootRecord):
    """One tier of the boot."""

    tier: int
    running: int
    total: int
    seconds: float


class BootRow(BootRecord):
    """One component's boot."""

    name: str
    tier: int
    state: str
    seconds: float
    tries: int
    evidence: JsonValue = None
    error: str = ""
    incident: str | None = None


class BootFacts(BootRecord):
    """The boot report, as `homeostat boot --json` gives it."""

    running: int
    total: int
    seconds: float
    tiers: list[TierRow]
    components: list[BootRow]
    subsystems: list[BootRow] = Field(default_factory=list)

"""What a boot reports: per component, per tier, and of the whole."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

from homeostat.component import State


class BootRow(BaseModel):
    """One component's boot; `error` is empty where it is RUNNING."""

    model_config = ConfigDict(frozen=True)

    name: str
    tier: int
    state: State
    seconds: float
    tries: int
    evidence: JsonValue = None
    error: str = ""
    #: Why each try before the last one failed.
    retried: list[str] = []
    incident: str | None = None


class TierRow(BaseModel):
    """One tier: how many of its components run, and the seconds that it took."""

    model_config = ConfigDict(frozen=True)

    tier: int
    running: int
    total: int
    seconds: float


class BootReport(BaseModel):
    """The boot of the control plane (`running` of `total` kernels, in `seconds`), and of what
    stands on it: `subsystems` are the trading subsystems and plugins, which count as no kernels.
    """

    model_config = ConfigDict(frozen=True)

    running: int
    total: int
    seconds: float
    tiers: list[TierRow]
    components: list[BootRow]
    subsystems: list[BootRow]

"""What a supervised part is: its spec, its four verbs, and the evidence that they return.

A component is one module and one class. `boot` makes it ready, `probe` does its real job once
in small and reports what it saw, `run` is one cycle of its work, `heal` carries out a named
remedy and proves the post-condition. State lives in the store, never in the instance: the next
cycle may run in another process.

Each verb is handed an open session and must not commit: the task that called does, so that the
work and the record of it are one transaction. Do slow input and output before the first
statement on the session, because on SQLite a transaction holds the only write lock.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.settings import Settings


class Wing(StrEnum):
    """The part of the house a component belongs to."""

    KERNELS = "kernels"
    TRADING = "trading"
    PLUGINS = "plugins"


class State(StrEnum):
    """What is known of a component; UNKNOWN is as loud as FAILED."""

    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class RetryPolicy(BaseModel):
    """How a failed check is tried again: `attempts` more times, exponential back-off, jitter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(0, ge=0)
    backoff_s: float = Field(1.0, gt=0)
    backoff_max_s: float = Field(30.0, gt=0)
    jitter: bool = True


class Thresholds(BaseModel):
    """Failures in a row until FAILED, and successes in a row until RUNNING again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fail_after: int = Field(1, ge=1)
    recover_after: int = Field(1, ge=1)


class ComponentSpec(BaseModel):
    """The declared facts of a component.

    `interval_s` is for plugins only: the cadence of what ships stands in `beat_schedule.py`.
    `needs` are full names (`kernels.message_bus`); only those may be asked for with `need`.
    `rate_limit` is Celery's notation (`10/s`), per worker process. `remedies` says by which remedy
    of its own `heal` answers a failure: a pattern of exception types → the remedy's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    wing: Wing
    tier: int = Field(ge=0, le=9)
    summary: str = Field(min_length=1, description="Its one job, in a sentence.")
    needs: tuple[str, ...] = ()
    interval_s: float | None = Field(None, gt=0)
    timeout_s: float = Field(10.0, gt=0)
    retries: RetryPolicy = RetryPolicy()
    rate_limit: str | None = Field(None, pattern=r"^\d+/[smh]$")
    thresholds: Thresholds = Thresholds()
    remedies: dict[str, str] = Field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """The name used in tasks, tables and logs: `kernels.self_healing`."""
        return f"{self.wing}.{self.name}"


class Evidence(BaseModel):
    """What was looked at, what was seen, and whether the claim held. It could have come out
    otherwise: `passed` is computed from `observed`, never assumed.
    """

    model_config = ConfigDict(frozen=True)

    claim: str
    passed: bool
    observed: dict[str, JsonValue] = Field(default_factory=dict)
    at: datetime = Field(default_factory=utcnow)
    seconds: float = 0.0


class CycleResult(BaseModel):
    """One cycle's outcome: `work` counts the units really done, `observed` says which."""

    model_config = ConfigDict(frozen=True)

    work: int = Field(ge=0)
    observed: dict[str, JsonValue] = Field(default_factory=dict)


class NoRemedyError(HomeostatError):
    """The component has no remedy of that name."""


@dataclass(frozen=True)
class Context:
    """What a component is given: the settings, and the way to the components it needs."""

    settings: Settings
    find: Callable[[str], Component]


class Component(ABC):
    """A supervised part. Subclasses set `spec` and write at least `probe` and `run`."""

    spec: ClassVar[ComponentSpec]

    def __init__(self, context: Context) -> None:
        """Take the context; must be cheap and must not touch the network or the store."""
        self.context = context

    def prepare(self) -> None:  # noqa: B027  # most have nothing to begin
        """Begin what takes long and needs no other part, such as the start of a process.

        Called once before the first tier boots. It returns at once and proves nothing: the boot
        does, in its turn.
        """

    def boot(self, session: Session) -> Evidence:
        """Make the component ready and prove it; by default the probe is the proof."""
        return self.probe(session)

    @abstractmethod
    def probe(self, session: Session) -> Evidence:
        """Do the real job once, in small, and report what was seen."""

    @abstractmethod
    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Do one cycle of work for the tick that was due at `due_at`."""

    def heal(self, session: Session, remedy: str) -> Evidence:
        """Carry out a remedy of its own and prove its post-condition; raises NoRemedyError.

        Called by `kernels.self_healing` where a failure fits one of `spec.remedies`, before any
        playbook that ships; the probe has to pass afterwards.
        """
        del session
        raise NoRemedyError(f"{self.spec.full_name} has no remedy named {remedy!r}.")

    # The value is another component's class, which the asker names by a Protocol of its own.
    def need(self, full_name: str) -> Any:
        """Return a component that the spec declares in `needs`."""
        if full_name not in self.spec.needs:
            raise HomeostatError(f"{self.spec.full_name} does not declare the need {full_name!r}.")
        return self.context.find(full_name)


class Stopwatch:
    """Measures the seconds that a piece of evidence took."""

    def __init__(self) -> None:
        """Start now."""
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

"""A failure as it was seen: what was raised, where, by which task, before anything is concluded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeostat.clock import utcnow
from homeostat.incidents import traceback_text, unwinding
from homeostat.incidents.call import Call
from homeostat.incidents.raised import Raised
from homeostat.incidents.rendering import clean


class Source(StrEnum):
    """Who saw the failure."""

    TASK = "task"
    PROBE = "probe"
    CYCLE = "cycle"
    BOOT = "boot"
    WORKER = "worker"
    BEAT = "beat"
    TRIGGER = "trigger"
    API = "api"
    CLI = "cli"


class Severity(StrEnum):
    """How bad it is; it decides the business priority of the analysis."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def priority(self) -> int:
        """The business priority, 10 (critical) to 0 (idle)."""
        return _PRIORITY[self]


_PRIORITY = {Severity.CRITICAL: 10, Severity.HIGH: 7, Severity.MEDIUM: 4, Severity.LOW: 1}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure with its chain of exceptions, the innermost cause first.

    `target_hash` is the SHA-256 of the file of the innermost application frame (line ends
    normalised), None where that file was not seen. `exception` is kept for the diagnostic bundle
    and never leaves the process. `call` is what a worker was asked for, where that can be made
    again.
    """

    source: Source
    component: str
    task: str | None
    chain: tuple[Raised, ...]
    target_hash: str | None = None
    occurred_at: datetime = field(default_factory=utcnow)
    exception: BaseException | None = field(default=None, compare=False, repr=False)
    call: Call | None = field(default=None, compare=False, repr=False)

    @property
    def cause(self) -> Raised:
        """The innermost cause."""
        return self.chain[0]

    @property
    def type(self) -> str:
        """The innermost cause's qualified type, without `builtins.`."""
        return self.cause.type

    @property
    def message(self) -> str:
        """The innermost cause's message."""
        return self.cause.message

    @classmethod
    def from_exception(
        cls,
        exc: BaseException,
        *,
        source: Source | str,
        component: str,
        task: str | None = None,
        app_packages: Collection[str] = (),
    ) -> Failure:
        """Read a caught exception, without running any of the application's own code.

        `app_packages` are top-level packages that count as the application although they are
        installed as libraries.
        """
        exc = unwinding.original_of(exc)
        chain = unwinding.chain_of(exc, app_packages)
        return cls(
            source=Source(source),
            component=component,
            task=task,
            chain=chain,
            target_hash=unwinding.hash_of_target(chain[0]),
            exception=exc,
        )

    # The name is the interface's: a failure's exception type.
    @classmethod
    def without_frames(
        cls,
        type: str,  # noqa: A002
        message: str,
        source: Source | str,
        component: str,
        task: str | None = None,
    ) -> Failure:
        """Describe what was seen from outside: a lost worker, a time limit, a missed beat."""
        return cls(
            source=Source(source),
            component=clean(component),
            task=None if task is None else clean(task),
            chain=(Raised(type=clean(type), message=clean(message)),),
        )

    @classmethod
    def from_text(
        cls,
        text: str,
        *,
        source: Source | str,
        component: str,
        task: str | None = None,
        app_packages: Collection[str] = (),
    ) -> Failure:
        """Read a traceback as Python prints it; raises TracebackTextError where there is none."""
        chain = traceback_text.parse(text, app_packages)
        return cls(source=Source(source), component=component, task=task, chain=chain)

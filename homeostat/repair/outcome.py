"""What a repair is asked for, and the whole story of how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue

from homeostat.repair.case import Candidate
from homeostat.repair.governance import Verdict
from homeostat.repair.proof import Proof


class Apply(StrEnum):
    """What to do with a proven patch: nothing, what governance allows, or apply in any case."""

    NEVER = "never"
    POLICY = "policy"
    APPROVED = "approved"


class Status(StrEnum):
    """How a repair ended."""

    HEALTHY = "healthy"
    """The command did not fail, so there was nothing to mend."""
    OTHERWISE = "fails_otherwise"
    """The command failed, but not as what was seen did, so it shows nothing of that."""
    APPLIED = "applied"
    PROPOSED = "proposed"
    """Proven, and allowed by the evidence; nobody asked for it to be applied."""
    WAITING = "waiting"
    """Proven, and waiting for a person's approval."""
    REVERTED = "reverted"
    """Replayed from knowledge, and taken back because tests behind it failed."""
    REFUSED = "refused"
    """There were candidates and none was proven."""
    NONE_FOUND = "none_found"


@dataclass(frozen=True)
class Attempt:
    """One candidate and what its proof said."""

    candidate: Candidate
    proof: Proof
    diff: str

    def as_json(self) -> dict[str, JsonValue]:
        """Return the attempt for storage and output."""
        candidate = self.candidate
        return {
            "strategy": candidate.strategy,
            "class": candidate.defect.value,
            "title": candidate.title,
            "origin": candidate.origin.value,
            "side": candidate.side.value,
            "rule": candidate.rule,
            "waits_because": candidate.waits_because,
            "parameters": dict(candidate.parameters),
            "files": list(sorted(candidate.changes)),  # noqa: C413 - JSON wants a list of its own type
            "diff": self.diff,
            "proof": self.proof.as_json(),
        }


@dataclass(frozen=True)
class RepairOutcome:
    """The whole story of one repair."""

    id: str
    status: Status
    command: str
    failure: str
    signature: str
    group_key: str
    replay_key: str
    chosen: Attempt | None
    refused: tuple[Attempt, ...]
    verdict: Verdict | None
    commit: str
    seconds: float
    timings: dict[str, float]
    protections: tuple[str, ...]
    from_knowledge: bool = False
    behind: Proof | None = None

    @property
    def proven(self) -> bool:
        """Whether a patch holds its proof."""
        return self.chosen is not None

    def as_json(self) -> dict[str, JsonValue]:
        """Return the outcome for storage and output."""
        return {
            "id": self.id,
            "status": self.status.value,
            "command": self.command,
            "failure": self.failure,
            "signature": self.signature,
            "group_key": self.group_key,
            "replay_key": self.replay_key,
            "from_knowledge": self.from_knowledge,
            "fix": self.chosen.as_json() if self.chosen else None,
            "verdict": (
                {"decision": self.verdict.ruling.value, "reason": self.verdict.reason}
                if self.verdict
                else None
            ),
            "refused": [attempt.as_json() for attempt in self.refused],
            "tests_behind": self.behind.as_json() if self.behind and self.behind.steps else None,
            "commit": self.commit,
            "seconds": round(self.seconds, 3),
            "timings": {name: round(value, 3) for name, value in self.timings.items()},
            "protections": list(self.protections),
        }


class Clock:
    """Adds up how long each part of a repair took."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - start

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

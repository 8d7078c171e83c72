"""Puts all evidence of a run together as facts."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import psutil
from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.chaos import forensics
from homeostat.chaos import load as loading
from homeostat.chaos.load import Line
from homeostat.chaos.scenario import Proof, ScenarioResult
from homeostat.clock import utcnow
from homeostat.settings import Settings
from homeostat.store.database import reading
from homeostat.store.trading import PAPER
from homeostat.stress.boot_facts import BootFacts
from homeostat.stress.evidence import (
    book,
    cadence,
    components,
    flow,
    incidents,
    logs,
    throughput,
)
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import Facts, InputFacts, MemoryRow, Point
from homeostat.stress.plan import Plan
from homeostat.supervision.timetable import Entry


class Around(Protocol):
    """What is asked of the run's surroundings here."""

    settings: Settings
    entries: Sequence[Entry]
    input: InputFacts
    hooks: Sequence[str]

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the stack's services answer, by name."""


class Run(Protocol):
    """What is asked of the run itself here."""

    id: str
    began: datetime
    plan: Plan
    seconds_by_phase: dict[str, float]

    @property
    def around(self) -> Around:
        """Its surroundings."""


@dataclass
class Seen:
    """What the load phase left: the window, the producers' history, and what was sampled."""

    window: Window
    lines: Sequence[Line]
    drained_s: float | None
    results: list[ScenarioResult]
    drills: Sequence[str]
    canaries: Sequence[str]
    memory: list[MemoryRow]
    depth: Sequence[Point]
    logs_before: Mapping[str, int]
    boot: BootFacts | None = None
    probes_can_fail: Mapping[str, bool] = field(default_factory=dict)


def gather(run: Run, seen: Seen, code: str) -> Facts:
    """Return everything that was observed, read from the store and from what was sampled."""
    window, around = seen.window, run.around
    with reading() as session:
        return _gather(session, run, seen, window, around, code)


def _gather(
    session: Session, run: Run, seen: Seen, window: Window, around: Around, code: str
) -> Facts:
    now = utcnow()
    ledger = cadence.rows(session, around.entries, window)
    explained = incidents.explanations(session, window, _noticed(seen.results))
    digests = incidents.digests(session, window, explained)
    comparison = loading.compare(seen.lines)
    return Facts(
        id=run.id,
        started_at=run.began,
        ended_at=now,
        load_started_at=window.start,
        load_ended_at=window.end,
        minutes=round(window.seconds / 60, 2),
        revision=code,
        host=host(),
        input=around.input,
        boot=seen.boot,
        components=components.rows(
            session, around.entries, ledger, seen.probes_can_fail, window, now
        ),
        unscheduled=components.unscheduled(registry.names(), around.entries),
        cadence=ledger,
        throughput=throughput.gather(
            session, window, seen.lines, comparison, seen.drained_s, seen.depth
        ),
        exceptions=digests,
        logs=logs.gather(
            around.settings.state_dir / forensics.LOGS,
            seen.logs_before,
            window,
            # A pool child that cannot hand a drill's own type over hands over its base.
            [*(digest.type for digest in digests), "StressDrillError"],
        ),
        memory=seen.memory,
        hooks=flow.hooks(session, around.hooks, seen.canaries),
        decisions=flow.decisions(session, window),
        book=book.gather(session, window, PAPER),
        freshness=flow.freshness(session, run.began, now),
        chaos=seen.results,
        faults=list(window.faults),
        incidents=incidents.gather(session, window, seen.drills, explained),
        addresses=dict(around.addresses),
        seconds_by_phase=dict(run.seconds_by_phase),
    )


def _noticed(results: Sequence[ScenarioResult]) -> dict[str, str]:
    """Return the incidents that scenarios point at as the ones that noticed them."""
    proofs: list[tuple[str, Proof]] = [(r.id, r.noticed) for r in results if r.noticed is not None]
    return {str(proof.observed["incident"]): name for name, proof in proofs if proof.held}


def host() -> dict[str, JsonValue]:
    """Return the facts of the machine that figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / 1_000_000),
        "load_1m": round(psutil.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }

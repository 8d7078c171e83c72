"""What the load asked for, what became of it, how fast, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.chaos.load import Ledger, Line, Told
from homeostat.store import effects, jobs
from homeostat.store.checks import CheckRun
from homeostat.store.jobs import Job
from homeostat.stress.evidence.window import Window, quantiles
from homeostat.stress.facts import Point, Quantiles, ThroughputFacts

#: Targets of the p99 outside declared faults, in milliseconds. The seed only estimated such.
EFFECT_TARGET_MS = 2_000.0
CHECK_TARGET_MS = 5_000.0
#: How many keys a row of the report names.
NAMED = 20
#: The series are cut to this many points, so that a long run's report stays small.
MOST_POINTS = 1_200


def gather(
    session: Session,
    window: Window,
    lines: Sequence[Line],
    ledger: Ledger,
    drained_s: float | None,
    depth: Sequence[Point],
) -> ThroughputFacts:
    """Return the facts; `lines` are the producers' history, `ledger` its comparison."""
    asked = {line.key: line.at for line in lines if line.told is Told.OK}
    done = [
        (key, at)
        for key, at in effects.since(session, window.start, _prefix(asked))
        if key in asked
    ]
    calm = [
        (at - asked[key]).total_seconds() * 1000
        for key, at in done
        if not window.fault_at(asked[key])
    ]
    per_second = Counter(int(window.since_start(at)) for _, at in done)
    points = [
        Point(t=window.since_start(asked[key]), value=(at - asked[key]).total_seconds() * 1000)
        for key, at in done
    ]
    return ThroughputFacts(
        told_ok=ledger.told.get(Told.OK, 0),
        told_failed=ledger.told.get(Told.FAILED, 0),
        told_unknown=ledger.told.get(Told.UNKNOWN, 0),
        effects=ledger.effects,
        lost=len(ledger.lost),
        doubled=len(ledger.doubled),
        lost_keys=ledger.lost[:NAMED],
        doubled_keys=ledger.doubled[:NAMED],
        drained_s=drained_s,
        effects_per_s=round(ledger.effects / window.seconds, 2),
        checks_per_s=round(_checks(session, window) / window.seconds, 2),
        latency=_latency(session, window, calm),
        series={
            "effects per second": [
                Point(t=second, value=per_second.get(second, 0))
                for second in range(int(window.seconds))
            ],
            "queue depth": _thin(list(depth)),
            "latency ms": _thin(points),
        },
    )


def _prefix(asked: dict[str, datetime]) -> str:
    return next(iter(asked), "").rpartition(":")[0]


def _checks(session: Session, window: Window) -> int:
    statement = select(func.count()).where(
        CheckRun.started_at >= window.start, CheckRun.started_at < window.end
    )
    return int(session.scalar(statement) or 0)


def _latency(session: Session, window: Window, calm: Sequence[float]) -> dict[str, Quantiles]:
    found = {
        "job row → effect (outside faults)": quantiles(calm, EFFECT_TARGET_MS),
        "tick due → check started (outside faults)": quantiles(
            _tick_lateness(session, window), CHECK_TARGET_MS
        ),
        "check started → recorded": quantiles(_check_seconds(session, window)),
        "job row → analysis started": quantiles(_queue_wait(session, window, "fix_analysis")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _tick_lateness(session: Session, window: Window) -> list[float]:
    statement = select(CheckRun.due_at, CheckRun.started_at).where(
        CheckRun.due_at >= window.start, CheckRun.due_at < window.end
    )
    return [
        max(0.0, (started - due).total_seconds() * 1000)
        for due, started in session.execute(statement)
        if not window.fault_at(due)
    ]


def _check_seconds(session: Session, window: Window) -> list[float]:
    statement = select(CheckRun.started_at, CheckRun.ended_at).where(
        CheckRun.due_at >= window.start, CheckRun.due_at < window.end, CheckRun.passed
    )
    return [
        (ended - started).total_seconds() * 1000 for started, ended in session.execute(statement)
    ]


def _queue_wait(session: Session, window: Window, queue: str) -> list[float]:
    wanted = jobs.wanted_since()
    statement = select(wanted, Job.started_at).where(
        Job.queue == queue,
        wanted >= window.start,
        wanted < window.end,
        Job.started_at >= wanted,
    )
    return [
        (started - since).total_seconds() * 1000
        for since, started in session.execute(statement)
        if not window.fault_at(since)
    ]


def _thin(points: list[Point]) -> list[Point]:
    return points[:: max(1, -(-len(points) // MOST_POINTS))]

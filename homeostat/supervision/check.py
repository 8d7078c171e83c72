"""One check of one component: probe, cycle, and the lease that both together earn."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from homeostat.clock import from_iso, utcnow
from homeostat.component import Component, CycleResult, Evidence
from homeostat.errors import ProbeFailedError
from homeostat.store import checks
from homeostat.store.checks import CheckRun

#: A lease outlives this many missed ticks before the state becomes UNKNOWN.
LEASE_TICKS = 3
#: The shortest lease, in seconds: a five-second cadence must survive a worker's restart (3–6 s).
SHORTEST_LEASE_S = 20.0

#: The entry under which checks are recorded that a person or a script asked for.
BY_HAND = "by-hand"
#: The lease of such a check lasts as if it came this often, in seconds.
BY_HAND_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Tick:
    """Which tick a check answers: the beat entry, when it was due, and its interval."""

    entry: str
    due_at: datetime
    interval_s: float


@dataclass(frozen=True)
class CheckResult:
    """What one check saw: the probe's evidence and the cycle's result."""

    component: str
    tick: Tick
    evidence: Evidence
    cycle: CycleResult


def holder() -> str:
    """Return who runs this: host and pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_check(session: Session, component: Component, tick: Tick) -> CheckResult | None:
    """Run one check in the caller's transaction; None where this tick has run already.

    Raises what the component raised, or ProbeFailedError where its evidence did not pass; the
    caller rolls back and calls `record_failure` in a transaction of its own.
    """
    name = component.spec.full_name
    started = utcnow()
    evidence = component.probe(session)
    if not evidence.passed:
        raise ProbeFailedError(f"{name}: {evidence.claim} did not hold: {evidence.observed}")
    if not evidence.observed or evidence.at < started:
        raise ProbeFailedError(f"{name}: its evidence names nothing that this probe observed.")
    cycle = component.run(session, tick.due_at)
    if not cycle.observed:
        raise ProbeFailedError(f"{name}: its cycle does not say what it did.")
    if checks.count_delivery(session, tick.entry, tick.due_at):
        return None
    _record(session, component, tick, started, evidence, cycle)
    renew_lease(session, component, tick, evidence)
    return CheckResult(name, tick, evidence, cycle)


def already_run(session: Session, tick: Tick) -> bool:
    """Return whether the tick has run; a repeat is counted, so that the ledger shows it."""
    return checks.count_delivery(session, tick.entry, tick.due_at)


def _record(
    session: Session,
    component: Component,
    tick: Tick,
    started: datetime,
    evidence: Evidence,
    cycle: CycleResult,
) -> None:
    run = CheckRun(
        entry=tick.entry,
        component=component.spec.full_name,
        due_at=tick.due_at,
        started_at=started,
        ended_at=utcnow(),
        passed=True,
        work=cycle.work,
        evidence={"probe": evidence.model_dump(mode="json"), "cycle": cycle.observed},
        worker=holder(),
    )
    checks.record_run(session, run)


def renew_lease(session: Session, component: Component, tick: Tick, evidence: Evidence) -> None:
    """Write what a passed check or boot proves into the component's lease."""
    spec = component.spec
    lease = checks.lease_of(session, spec.full_name)
    now = utcnow()
    lease.tier = spec.tier
    lease.holder = holder()
    lease.renewed_at = now
    lease.expires_at = now + lease_length(tick.interval_s, spec.timeout_s)
    lease.evidence = evidence.model_dump(mode="json")
    lease.successes_in_row += 1
    if lease.successes_in_row >= spec.thresholds.recover_after:
        lease.failures_in_row = 0
        lease.failed_since = None
        lease.probe_passed = True
        lease.reason = ""


def lease_length(interval_s: float, timeout_s: float) -> timedelta:
    """Return how long one passed check may be believed: three ticks, and at least 20 s."""
    return timedelta(seconds=max(LEASE_TICKS * interval_s + timeout_s, SHORTEST_LEASE_S))


def record_upkeep(session: Session, task: str, kwargs: Mapping[str, Any]) -> None:
    """Enter a tick of a task that is no check; a repeat of it is counted on its row."""
    due_at = from_iso(str(kwargs["due_at"]))
    if already_run(session, Tick(str(kwargs["entry"]), due_at, 0.0)):
        return
    now = utcnow()
    run = CheckRun(
        entry=str(kwargs["entry"]),
        component=task,
        due_at=due_at,
        started_at=now,
        ended_at=now,
        passed=True,
        evidence={},
        worker=holder(),
    )
    checks.record_run(session, run)


def record_failure(
    session: Session, component: str, tick: Tick, reason: str, *, fail_after: int = 1
) -> None:
    """Record a failed check: its run row (once per tick) and what it does to the lease."""
    now = utcnow()
    if not checks.count_delivery(session, tick.entry, tick.due_at):
        run = CheckRun(
            entry=tick.entry,
            component=component,
            due_at=tick.due_at,
            started_at=now,
            ended_at=now,
            passed=False,
            evidence={"error": reason[:2000]},
            worker=holder(),
        )
        checks.record_run(session, run)
    lease = checks.lease_of(session, component)
    lease.successes_in_row = 0
    lease.failures_in_row += 1
    lease.failed_since = lease.failed_since or now
    lease.reason = reason[:500]
    if lease.failures_in_row >= fail_after:
        lease.probe_passed = False

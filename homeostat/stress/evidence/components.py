"""What each component did in the window: its state, cycles, work, failures, and last activity."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.component import State
from homeostat.incidents.failure import Source
from homeostat.store import checks
from homeostat.store.checks import CheckRun
from homeostat.store.figures import Figure
from homeostat.store.incidents import Incident
from homeostat.store.trading import Directive, SafetyPolicy, UniverseSnapshot
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import CadenceRow, ComponentRow
from homeostat.supervision.overview import View, overview
from homeostat.supervision.timetable import Entry

#: A scenario's own probes and drills are no component's failures.
DRILLS = "stress."


def rows(
    session: Session,
    entries: Sequence[Entry],
    ledger: Sequence[CadenceRow],
    probes_can_fail: Mapping[str, bool],
    window: Window,
    now: datetime,
) -> list[ComponentRow]:
    """Return one row per component, by wing and tier."""
    runs: defaultdict[str, list[CheckRun]] = defaultdict(list)
    for run in checks.runs_between(session, window.start, window.end):
        runs[run.component].append(run)
    intervals = {entry.name: entry.interval_s for entry in entries}
    cadence = {row.entry: row for row in ledger}
    crashes = _crashes(session, window)
    left = _left(session, window)
    return [
        _row(
            view,
            runs[view.name],
            intervals.get(view.name),
            cadence.get(view.name),
            crashes[view.name],
            left,
            probes_can_fail.get(view.name),
            window,
            now,
        )
        for view in overview(session, now)
    ]


def unscheduled(names: Sequence[str], entries: Sequence[Entry]) -> list[str]:
    """Return the components that no entry of the timetable checks."""
    checked = {entry.task.removeprefix("checks.") for entry in entries}
    return [name for name in names if name not in checked]


#: Tables in which only that component writes, with the column that says when: evidence of a
#: cycle that is not the cycle's own word.
TRACES: Mapping[str, Any] = {
    "kernels.infrastructure_manager": Figure.at,
    "trading.ai_hfos": Directive.issued_at,
    # An unchanged policy is no new row: the last one lives 30 s longer with each cycle.
    "trading.self_healing": SafetyPolicy.expires_at,
    "trading.universe_os": UniverseSnapshot.at,
}


def _left(session: Session, window: Window) -> dict[str, int]:
    """Count what the components' cycles left in their own tables."""
    return {
        name: int(session.scalar(select(func.count()).where(at >= window.start)) or 0)
        for name, at in TRACES.items()
    }


def _crashes(session: Session, window: Window) -> Counter[str]:
    """Count the incidents of a lost process, by component, outside declared faults."""
    statement = select(Incident).where(
        Incident.source == Source.WORKER,
        Incident.last_seen_at >= window.start,
        Incident.first_seen_at < window.end,
    )
    return Counter(
        incident.component
        for incident in session.scalars(statement)
        if not window.fault_at(incident.last_seen_at)
    )


def _row(
    view: View,
    runs: Sequence[CheckRun],
    interval_s: float | None,
    ledger: CadenceRow | None,
    crashes: int,
    left: Mapping[str, int],
    probe_can_fail: bool | None,  # noqa: FBT001  # a finding, not a switch
    window: Window,
    now: datetime,
) -> ComponentRow:
    failed = [run for run in runs if not run.passed]
    outside = [run for run in failed if not window.fault_at(run.due_at)]
    last = max((run.ended_at for run in runs if run.passed), default=None)
    active = _loop_active(runs, ledger)
    error_free = not outside and not crashes if runs else None
    running = view.state is State.RUNNING
    return ComponentRow(
        name=view.name,
        wing=view.wing,
        tier=view.spec.tier if view.spec else -1,
        state=view.state,
        reason=view.reason,
        loop_active=active,
        error_free=error_free,
        interval_s=interval_s,
        last_activity_s=None if last is None else round((now - last).total_seconds(), 1),
        cycles=len(runs),
        failed_cycles=len(outside),
        failed_in_fault=len(failed) - len(outside),
        work=sum(run.work for run in runs),
        empty_cycles=sum(run.passed and not run.evidence.get("cycle") for run in runs),
        left=left.get(view.name),
        crashes=crashes,
        probe_can_fail=probe_can_fail,
        stable_under_load=None if active is None else bool(active and error_free and running),
        notes=_notes(view, failed, window),
        evidence=_evidence(view, runs, ledger),
    )


def _loop_active(runs: Sequence[CheckRun], ledger: CadenceRow | None) -> bool | None:
    """A loop is active when every tick that was due ran; where none was due, a run by hand did."""
    if ledger is not None and ledger.expected:
        return not ledger.missed and ledger.run > 0
    return True if any(run.passed for run in runs) else None


def _evidence(
    view: View, runs: Sequence[CheckRun], ledger: CadenceRow | None
) -> dict[str, JsonValue]:
    evidence: dict[str, JsonValue] = {"runs": len(runs)}
    if ledger is not None and ledger.expected:
        evidence["ticks"] = f"{ledger.run} of {ledger.expected}"
    if view.lease is not None and view.lease.evidence:
        evidence["probe"] = str(view.lease.evidence.get("claim", ""))
    return evidence


def _notes(view: View, failed: Sequence[CheckRun], window: Window) -> str:
    notes = [view.reason] if view.reason else []
    faults = sorted({name for run in failed if (name := window.fault_at(run.due_at))})
    if faults:
        notes.append(f"failed while {', '.join(faults)} was in force")
    return "; ".join(notes)

"""Incidents, exceptions and repairs of the window, and how fast known failures were recognised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store import effects
from homeostat.store.incidents import Incident, OccurrenceCount, TimelineEntry
from homeostat.store.repair import KnownFix, Repair
from homeostat.stress.evidence.window import Window, quantiles
from homeostat.stress.facts import ExceptionDigest, IncidentFacts, IncidentRow

#: The drills' task, and the target of their recognition: p99 in milliseconds.
DRILL_TASK = "stress.fail"
TARGET_MS = 2_000.0
#: More in the second half of the window than this times the first half is escalating.
ESCALATES = 2.0
#: Incidents this shortly after a fault's window may still be its consequences, in seconds.
AFTERMATH_S = 20.0


def gather(
    session: Session,
    window: Window,
    drills: Sequence[str],
    explained: Mapping[str, str],
) -> IncidentFacts:
    """Return the window's incidents; `explained` names the cause of those that were provoked."""
    found = _in_window(session, window)
    steps = _steps(session, [incident.id for incident in found])
    raised = _raised(session, drills)
    rows = [_row(incident, steps.get(incident.id, []), raised, explained) for incident in found]
    # A failure in the middle of a declared fault is recognised as well, and is not timed.
    calm = [row for row in rows if not window.fault_at(row.opened_at)]
    recognised = [row for row in rows if row.to_row_ms is not None]
    fixes = sorted(row.to_fix_s for row in rows if row.to_fix_s is not None)
    return IncidentFacts(
        rows=rows,
        opened=len(found),
        resolved=sum(row.state == "resolved" for row in rows),
        escalated=sum(row.state == "escalated" for row in rows),
        unexplained_open=sum(row.state != "resolved" and not row.explained_by for row in rows),
        drills_raised=len(raised) if drills else None,
        drills_recognised=len(recognised) if drills else None,
        failure_to_row=quantiles([r.to_row_ms for r in calm if r.to_row_ms is not None], TARGET_MS),
        failure_to_analysis=quantiles(
            [r.to_analysis_ms for r in calm if r.to_analysis_ms is not None], TARGET_MS
        ),
        first_fix_s=fixes[0] if fixes else None,
        repeat_fix_s=_repeat_fix_s(session, window),
        knowledge_before=_known_fixes(session, before=window.start),
        knowledge_after=_known_fixes(session),
    )


def _known_fixes(session: Session, before: datetime | None = None) -> int:
    """Return how many proven fixes are known, or were known before that moment."""
    statement = select(func.count()).select_from(KnownFix)
    if before is not None:
        statement = statement.where(KnownFix.created_at < before)
    return int(session.scalar(statement) or 0)


def _repeat_fix_s(session: Session, window: Window) -> float | None:
    """Return the shortest time from a failure to a fix that was known already; None: no such."""
    found = session.execute(
        select(Repair.applied_at, Repair.outcome, Incident.opened_at)
        .join(Incident, Incident.id == Repair.incident_id)
        .where(Repair.applied_at >= window.start)
    )
    seconds = [
        (applied_at - opened_at).total_seconds()
        for applied_at, outcome, opened_at in found
        if outcome.get("from_knowledge")
    ]
    return round(min(seconds), 2) if seconds else None


def explanations(
    session: Session, window: Window, scenario_incidents: Mapping[str, str]
) -> dict[str, str]:
    """Return {incident id: the drill or scenario that provoked it}.

    `scenario_incidents` are those that the scenarios themselves point at. Others are explained
    only where every sighting of them lies in a declared fault or right after it.
    """
    explained = dict(scenario_incidents)
    for incident in _in_window(session, window):
        if incident.task == DRILL_TASK:
            explained[incident.id] = "drill"
        elif incident.id not in explained:
            names = {_provoked_by(window, at) for at in _sightings(session, incident)}
            if "" not in names:
                explained[incident.id] = ", ".join(sorted(names))
    return explained


def _provoked_by(window: Window, moment: datetime) -> str:
    for fault in window.faults:
        after = (moment - fault.end).total_seconds()
        if moment >= fault.start and after <= AFTERMATH_S:
            return fault.scenario
    return ""


def _sightings(session: Session, incident: Incident) -> set[datetime]:
    rows = session.scalars(
        select(OccurrenceCount).where(OccurrenceCount.incident_id == incident.id)
    )
    return {moment for row in rows for moment in (row.first_at, row.last_at)} | {
        incident.first_seen_at,
        incident.last_seen_at,
    }


def digests(
    session: Session, window: Window, explained: Mapping[str, str]
) -> list[ExceptionDigest]:
    """Return the window's failures by signature, most frequent first."""
    found = []
    for incident in _in_window(session, window):
        halves = _halves(session, incident, window)
        found.append(
            ExceptionDigest(
                signature=incident.label,
                type=incident.type,
                component=incident.component,
                count=sum(halves),
                first_at=incident.first_seen_at,
                last_at=incident.last_seen_at,
                escalating=halves[1] > ESCALATES * max(halves[0], 1),
                explained_by=explained.get(incident.id, ""),
            )
        )
    return sorted(found, key=lambda digest: -digest.count)


def _halves(session: Session, incident: Incident, window: Window) -> tuple[int, int]:
    """Return the occurrences in the window's first and second half, by the minute."""
    middle = window.start + (window.end - window.start) / 2
    counts = [0, 0]
    statement = select(
        OccurrenceCount.last_at, func.sum(OccurrenceCount.count).label("count")
    ).where(OccurrenceCount.incident_id == incident.id, OccurrenceCount.last_at >= window.start)
    for last_at, count in session.execute(statement.group_by(OccurrenceCount.last_at)):
        counts[last_at >= middle] += int(count)
    return counts[0], counts[1]


def _in_window(session: Session, window: Window) -> Sequence[Incident]:
    # No upper end: what the last job of the load ran into may stand after the load's end.
    statement = (
        select(Incident).where(Incident.last_seen_at >= window.start).order_by(Incident.opened_at)
    )
    return session.scalars(statement).all()


def _steps(session: Session, ids: Sequence[str]) -> dict[str, list[TimelineEntry]]:
    steps: dict[str, list[TimelineEntry]] = {}
    statement = select(TimelineEntry).where(TimelineEntry.incident_id.in_(ids))
    for step in session.scalars(statement.order_by(TimelineEntry.at)):
        steps.setdefault(step.incident_id, []).append(step)
    return steps


def _raised(session: Session, drills: Sequence[str]) -> dict[str, datetime]:
    """Return when each drill raised, by the type name that its incident has.

    The moment was committed by the task right before it raised.
    """
    raised = {}
    for drill in drills:
        starts = effects.starts_of(session, drill)
        if starts:
            raised[drill_type(drill)] = starts[0].at
    return raised


def drill_type(drill: str) -> str:
    """Return the name of the exception type that a drill raises."""
    return f"StressDrill{drill.rpartition(':')[2]}Error"


def _row(
    incident: Incident,
    steps: Sequence[TimelineEntry],
    raised: Mapping[str, datetime],
    explained: Mapping[str, str],
) -> IncidentRow:
    since = raised.get(incident.type.rpartition(".")[2])
    opened = next((s.at for s in steps if s.to_state == "open"), None)
    analysing = next((s.at for s in steps if s.to_state == "analysing"), None)
    end = next((s for s in reversed(steps) if s.to_state == "resolved"), None)
    detail = end.detail if end else {}
    # What healthy runs or a person have ended was not fixed.
    fix = str(detail.get("playbook") or detail.get("repair") or "")
    evidence = detail.get("evidence")
    proof = f"{len(evidence)} post-conditions" if isinstance(evidence, list) else evidence
    return IncidentRow(
        id=incident.id,
        label=incident.label,
        component=incident.component,
        source=incident.source,
        severity=incident.severity,
        state=incident.state,
        occurrences=incident.occurrences,
        opened_at=incident.opened_at,
        route="fix_analysis" if analysing else "",
        fix=fix,
        proof=str(proof or ""),
        explained_by=explained.get(incident.id, ""),
        to_row_ms=_ms(since, opened),
        to_analysis_ms=_ms(since, analysing),
        to_fix_s=round((end.at - incident.opened_at).total_seconds(), 2) if end and fix else None,
    )


def _ms(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None:
        return None
    return round((end - start).total_seconds() * 1000, 1)

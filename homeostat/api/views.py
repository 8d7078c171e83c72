"""What the API tells, as plain data: the same for the JSON answers and for the pages."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.incidents import lifecycle
from homeostat.incidents.views import IS_OPEN, require_state
from homeostat.settings import settings
from homeostat.store import approvals, jobs
from homeostat.store.approvals import Approval
from homeostat.store.audit import AuditRow
from homeostat.store.checks import CheckRun
from homeostat.store.incidents import Bundle, Incident, TimelineEntry
from homeostat.supervision.overview import View, counts, overview

#: Reports of stress runs lie here, in the state folder.
REPORTS = "reports"
_REPORT_KINDS = (".html", ".md", ".json")


def row(found: Any, *without: str) -> dict[str, Any]:
    """Return a model's columns as a dictionary."""
    columns = [column.key for column in found.__mapper__.column_attrs]
    return {name: getattr(found, name) for name in columns if name not in without}


def component(view: View) -> dict[str, Any]:
    """Return one component's state with what proves it."""
    lease = view.lease
    return {
        "name": view.name,
        "wing": view.wing,
        "tier": view.spec.tier if view.spec else None,
        "state": view.state,
        "reason": view.reason,
        "summary": view.spec.summary if view.spec else "",
        "needs": list(view.spec.needs) if view.spec else [],
        "renewed_at": lease.renewed_at if lease else None,
        "expires_at": lease.expires_at if lease else None,
        "failures_in_row": lease.failures_in_row if lease else 0,
        "evidence": lease.evidence if lease else {},
    }


def status(session: Session) -> dict[str, Any]:
    """Return the state of the whole: counts, and each component."""
    views = overview(session)
    return {
        "at": utcnow(),
        "counts": counts(views),
        "open_incidents": open_incidents(session),
        "jobs": jobs.counts(session),
        "components": [component(view) for view in views],
    }


def component_detail(session: Session, name: str) -> dict[str, Any] | None:
    """Return one component with its newest runs; None where nobody has that name."""
    found = next((view for view in overview(session) if view.name == name), None)
    if found is None:
        return None
    statement = select(CheckRun).where(CheckRun.component == name)
    runs = session.scalars(statement.order_by(CheckRun.started_at.desc()).limit(20))
    spec = found.spec.model_dump(mode="json") if found.spec else None
    return {**component(found), "spec": spec, "runs": [row(run) for run in runs]}


def open_incidents(session: Session) -> int:
    """Return how many incidents are open."""
    return int(session.scalar(select(func.count()).where(IS_OPEN)) or 0)


def incidents(session: Session, *, state: str = "open", most: int = 100) -> list[dict[str, Any]]:
    """Return incidents, the newest first: `open`, `all`, or one state of the lifecycle.

    Raises UnknownStateError where it is none of these.
    """
    statement = select(Incident).order_by(Incident.last_seen_at.desc()).limit(most)
    if state == "open":
        statement = statement.where(Incident.resolved_at.is_(None))
    elif state != "all":
        require_state(state)
        statement = statement.where(Incident.state == state)
    return [row(found, "basis") for found in session.scalars(statement)]


def incident(session: Session, incident_id: str) -> dict[str, Any]:
    """Return one incident with its timeline and bundle; raises UnknownIncidentError."""
    found = lifecycle.find(session, incident_id)
    steps = session.scalars(
        select(TimelineEntry)
        .where(TimelineEntry.incident_id == found.id)
        .order_by(TimelineEntry.at, TimelineEntry.id)
    )
    bundle = session.scalar(
        select(Bundle)
        .where(Bundle.incident_id == found.id)
        .order_by(Bundle.opening.desc())
        .limit(1)
    )
    return {
        **row(found),
        "timeline": [row(step, "incident_id") for step in steps],
        "bundle": bundle.content if bundle else None,
    }


def waiting_approvals(session: Session) -> list[dict[str, Any]]:
    """Return the approvals that wait for a person."""
    return [row(found) for found in approvals.waiting(session)]


def decided_approvals(session: Session, *, most: int = 20) -> list[dict[str, Any]]:
    """Return the newest approvals that wait no more."""
    statement = (
        select(Approval)
        .where(or_(Approval.state != "pending", Approval.expires_at <= utcnow()))
        .order_by(Approval.created_at.desc())
        .limit(most)
    )
    return [row(found) for found in session.scalars(statement)]


def audit(
    session: Session,
    *,
    before: int | None = None,
    actor: str = "",
    action: str = "",
    most: int = 50,
) -> list[dict[str, Any]]:
    """Return audit rows, the newest first; `before` a sequence number pages on."""
    statement = select(AuditRow).order_by(AuditRow.sequence.desc()).limit(most)
    if before is not None:
        statement = statement.where(AuditRow.sequence < before)
    if actor:
        statement = statement.where(AuditRow.actor.contains(actor, autoescape=True))
    if action:
        statement = statement.where(AuditRow.action.contains(action, autoescape=True))
    return [
        {**row(found), "payload": json.loads(found.payload)} for found in session.scalars(statement)
    ]


def reports() -> list[dict[str, Any]]:
    """Return the reports in the state folder, the newest first."""
    folder = settings().state_dir / REPORTS
    found = [p for p in folder.rglob("*") if p.is_file() and p.suffix in _REPORT_KINDS]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [
        {
            "name": str(path.relative_to(folder)),
            "bytes": path.stat().st_size,
            "at": datetime.fromtimestamp(path.stat().st_mtime).astimezone(),
        }
        for path in found[:100]
    ]


def report_file(name: str) -> Path | None:
    """Return the report's file; None where there is none, or the name leads out of the folder."""
    folder = (settings().state_dir / REPORTS).resolve()
    path = (folder / name).resolve()
    inside = path.is_relative_to(folder) and path.suffix in _REPORT_KINDS
    return path if inside and path.is_file() else None

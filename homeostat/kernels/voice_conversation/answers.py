"""What is answered: from the store, and from the library."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from homeostat.incidents.views import IS_OPEN
from homeostat.store import approvals
from homeostat.store.audit import AuditRow
from homeostat.store.decisions import DecisionRecord
from homeostat.store.incidents import Incident
from homeostat.supervision.overview import counts, overview
from homeostat.supervision.ports import Library

#: Of many things the newest are told; nobody listens to a list of forty.
MOST_TOLD = 5
#: What a person looks for, in this order: what was written for them comes before the code.
KINDS = ("runbook", "page", "incident", "docstring")


def status(session: Session) -> str:
    """Say how many components are in which state, and what is wrong with the worst."""
    views = overview(session)
    told = ", ".join(f"{count} {state}" for state, count in counts(views).items())
    worst = [f"{view.name} is {view.state}: {view.reason}" for view in views if view.reason]
    more = f" {'. '.join(worst[:MOST_TOLD])}." if worst else ""
    return f"Of {len(views)} components: {told}.{more}"


def what_broke(session: Session) -> str:
    """Tell the open incidents, the newest first."""
    found = session.scalars(
        select(Incident).where(IS_OPEN).order_by(Incident.last_seen_at.desc())
    ).all()
    if not found:
        return "No incident is open."
    told = [
        f"{one.component}: {one.type}, {one.message[:120]} ({one.state}, {one.occurrences} times)"
        for one in found[:MOST_TOLD]
    ]
    plural = "incident is" if len(found) == 1 else "incidents are"
    return f"{len(found)} {plural} open. {'. '.join(told)}."


def what_waits(session: Session) -> str:
    """Tell the approvals that wait for a person, with the numbers to decide them by."""
    waiting = approvals.waiting(session)
    if not waiting:
        return "Nothing waits for a decision."
    told = [f"number {n}: {a.action} on {a.subject}" for n, a in enumerate(waiting[:MOST_TOLD], 1)]
    return f"{len(waiting)} wait: {'; '.join(told)}."


def why(session: Session, what: str) -> str:
    """Tell the newest decision about something, by its record or by governance's own row."""
    record = session.scalar(
        select(DecisionRecord)
        .where(_about(what, DecisionRecord.action, DecisionRecord.subject, DecisionRecord.id))
        .order_by(DecisionRecord.at.desc())
        .limit(1)
    )
    if record is not None:
        return (
            f"{record.component} decided {record.action} on {record.subject} by the rule "
            f"'{record.rule}': {record.outcome}."
        )
    row = session.scalar(
        select(AuditRow)
        .where(
            AuditRow.action.in_(("governance.refuse", "governance.approve")),
            _about(what, AuditRow.resource, AuditRow.payload),
        )
        .order_by(AuditRow.sequence.desc())
        .limit(1)
    )
    if row is not None:
        return f"Governance held back {row.resource} by {row.actor}: {row.decision}."
    return f"I know of no decision about {what}."


def find(session: Session, library: Library, what: str) -> str:
    """Tell where the library writes about something, the best of each kind."""
    hits = [hit for kind in KINDS for hit in library.search(session, what, kind=kind, most=3)]
    if not hits:
        return f"The library holds nothing about {what}."
    told = [f"{hit.source}: {' '.join(hit.excerpt.split())}" for hit in hits]
    return "\n".join([f"About {what}:", *told])


def _about(what: str, *columns: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return or_(*(column.icontains(what, autoescape=True) for column in columns))

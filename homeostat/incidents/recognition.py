"""From failure to incident: one report, counted exactly, on exactly one open incident."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case as case_when
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.incidents import (
    background,
    budgets,
    bundle,
    counting,
    flapping,
    grouping,
    lifecycle,
    notices,
    suppression,
)
from homeostat.incidents.failure import Failure, Severity
from homeostat.incidents.lifecycle import State
from homeostat.incidents.redaction import redactor
from homeostat.incidents.signature import Signature, signature_of
from homeostat.store import jobs
from homeostat.store.incidents import Bundle, Incident
from homeostat.store.rows import insert_into

#: The task that analyses an opened incident, and its queue.
ANALYSE = "fix_analysis.analyse"
QUEUE = "fix_analysis"
ACTOR = "recognition"

#: A failure that comes back within this time reopens its incident; later it is a new one.
REOPEN_WITHIN = timedelta(days=14)
LONGEST_MESSAGE = 2_000
MILESTONES = frozenset({10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000})


@dataclass(frozen=True, slots=True)
class Case:
    """A failure with what its report needs.

    `content` is the bundle where it was captured at once, because the report had to wait; its
    signature is from then, too, because a redacted message may give other keys.
    """

    failure: Failure
    signature: Signature
    severity: Severity = Severity.CRITICAL
    fail_after: int = 1
    content: bundle.Content | None = None


def report(
    session: Session,
    failure: Failure,
    *,
    severity: Severity | str = Severity.CRITICAL,
    fail_after: int = 1,
    sighting: str | None = None,
) -> Incident:
    """Record a failure in the caller's transaction and return its incident.

    The failure is added to the open incident of its signature, or reopens one that was resolved
    lately, or opens a new one. Opening writes the diagnostic bundle, the timeline, the notice and
    one analysis job in the same transaction. Below `fail_after` failures in a row (without a
    healthy run between them) the incident is PENDING: counted, not yet opened. `sighting` is the
    reporter's own key for this one failure (a task's id, say): a second report of the same key
    counts nothing.
    """
    case = Case(failure, signature_of(failure), Severity(severity), fail_after)
    return report_case(session, case, sighting=sighting)


def report_case(session: Session, case: Case, *, sighting: str | None = None) -> Incident:
    """Do what `report` does for a failure that was read before."""
    if sighting is not None:
        known = counting.sighted(session, sighting)
        if known is not None:
            return known
    incident = _counted_on_open(session, case)
    if incident is None:
        incident = _reopened(session, case) or _opened(session, case)
    counting.count(session, incident, case.failure)
    if sighting is not None:
        counting.bind_sighting(session, sighting, incident)
    if incident.state == State.PENDING and incident.failures_in_row >= case.fail_after:
        _open_pending(session, incident, case)
    elif incident.occurrences in MILESTONES:
        detail = {"occurrences": incident.occurrences}
        lifecycle.record(session, incident, "recurred", actor=ACTOR, detail=detail)
    return incident


def _add_one(case: Case) -> dict[str, Any]:
    moment = case.failure.occurred_at
    below = [other for other in Severity if other.priority < case.severity.priority]
    return {
        "occurrences": Incident.occurrences + 1,
        "failures_in_row": Incident.failures_in_row + 1,
        "healthy_runs": 0,
        "last_seen_at": case_when(
            (Incident.last_seen_at < moment, moment), else_=Incident.last_seen_at
        ),
        "severity": case_when(
            (Incident.severity.in_(below), case.severity.value), else_=Incident.severity
        ),
    }


def _counted_on_open(session: Session, case: Case) -> Incident | None:
    """Count the failure on the open incident of its signature, if there is one.

    Older versions' keys are looked up too; a failure without frames may also join an incident
    whose message is alike (mined by drain3), because no frames tell it apart.
    """
    signature = case.signature
    keys = [signature.group_key, *signature.former]
    incident = _add(session, case, Incident.group_key.in_(keys))
    if incident is None and not signature.basis.frames:
        joined = grouping.alike(session, signature, case.failure.component)
        if joined is not None:
            incident = _add(session, case, Incident.id == joined)
    if incident is not None and incident.group_key in signature.former:
        _rekey(session, incident, signature)
    return incident


def _add(session: Session, case: Case, where: Any) -> Incident | None:
    statement = (
        update(Incident)
        .where(where, Incident.resolved_at.is_(None))
        .values(**_add_one(case))
        .returning(Incident)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalars(statement).first()


def _rekey(session: Session, incident: Incident, signature: Signature) -> None:
    detail = {"from_version": incident.signature_version, "to_version": signature.version}
    incident.group_key = signature.group_key
    incident.replay_key = signature.replay_key
    incident.signature_version = signature.version
    incident.reason = redactor().text(signature.reason)
    lifecycle.record(session, incident, "rekeyed", actor=ACTOR, detail=detail)


def _reopened(session: Session, case: Case) -> Incident | None:
    """Reopen the incident of this signature that was resolved last, if that was lately.

    Below the threshold it is PENDING again, and not reopened yet.
    """
    statement = (
        select(Incident)
        .where(
            Incident.group_key.in_([case.signature.group_key, *case.signature.former]),
            Incident.resolved_at > utcnow() - REOPEN_WITHIN,
        )
        .order_by(Incident.resolved_at.desc())
        .limit(1)
    )
    incident = session.scalar(statement)
    if incident is None or incident.state != State.RESOLVED:
        return None
    try:
        won = lifecycle.reopen(
            session, incident.id, actor=ACTOR, recurred=True, pending=case.fail_after > 1
        )
    except lifecycle.StepRefusedError:
        won = False
    reopened = _add(session, case, Incident.id == incident.id)
    # Where another worker reopened it first, this failure is one more occurrence.
    if won and reopened is not None and reopened.state == State.OPEN:
        reopened.replay_key = case.signature.replay_key
        flapping.note_opening(session, reopened)
        _open(session, reopened, case, utcnow())
    return reopened


def _open_pending(session: Session, incident: Incident, case: Case) -> None:
    """Open an incident that has reached its component's threshold."""
    event = "reopened" if incident.openings else "opened"
    if not lifecycle.transition(session, incident.id, State.OPEN, actor=ACTOR, event=event):
        return
    incident.openings += 1
    incident.opened_at = incident.state_since
    incident.replay_key = case.signature.replay_key
    session.flush()
    if event == "reopened":
        flapping.note_opening(session, incident)
    _open(session, incident, case, incident.opened_at)


def reopen_by_hand(session: Session, incident_id: str, *, actor: str, reason: str = "") -> bool:
    """Reopen a resolved incident for a person, with a fresh analysis and the last bundle.

    Raises StepRefusedError where it is open, or a newer one of its signature is.
    """
    incident = lifecycle.find(session, incident_id)
    if not lifecycle.reopen(session, incident.id, actor=actor, reason=reason):
        return False
    now = utcnow()
    suppression.look_for_parent(session, incident)
    ask_for_analysis(session, incident)
    notices.announce_opening(session, incident, now)
    session.flush()
    return True


def _opened(session: Session, case: Case) -> Incident:
    """Insert a new incident, or count on the one that another worker inserted meanwhile."""
    failure, signature = case.failure, case.signature
    now = utcnow()
    incident_id = new_id()
    state = State.OPEN if case.fail_after <= 1 else State.PENDING
    # The keys are of what was seen; what is kept for people holds no secret.
    cleaner = bundle.cleaner_of(failure)
    statement = (
        insert_into(session, Incident)
        .values(
            id=incident_id,
            group_key=signature.group_key,
            replay_key=signature.replay_key,
            signature_version=signature.version,
            label=signature.label[:255],
            reason=cleaner.text(signature.reason),
            basis=cleaner.value(asdict(signature.basis)),
            component=failure.component,
            task=failure.task,
            source=failure.source,
            severity=case.severity,
            type=signature.basis.type[:255],
            message=cleaner.text(failure.message)[:LONGEST_MESSAGE],
            state=state,
            state_since=now,
            occurrences=1,
            openings=1 if state is State.OPEN else 0,
            failures_in_row=1,
            healthy_runs=0,
            opened_at=now,
            first_seen_at=failure.occurred_at,
            last_seen_at=failure.occurred_at,
            announced=False,
            reminders=0,
        )
        .on_conflict_do_update(
            index_elements=["group_key"],
            index_where=Incident.resolved_at.is_(None),
            set_=_add_one(case),
        )
        .returning(Incident)
        .execution_options(populate_existing=True)
    )
    incident: Incident = session.scalars(statement).one()
    if incident.id == incident_id:
        lifecycle.record(
            session,
            incident,
            "opened" if state is State.OPEN else "pending",
            actor=ACTOR,
            to_state=state,
            at=now,
            detail={"source": failure.source, "reason": incident.reason},
        )
        if state is State.OPEN:
            _open(session, incident, case, now)
    return incident


def _open(session: Session, incident: Incident, case: Case, now: datetime) -> None:
    """Do once what every opening needs: the bundle, the cause above it, analysis, notice."""
    suppression.look_for_parent(session, incident)
    budgets.note_opening(session, incident, now)
    captured = case.content or bundle.capture(case.failure)
    content = background.complete(session, captured, incident)
    session.merge(
        Bundle(incident_id=incident.id, opening=incident.openings, captured_at=now, content=content)
    )
    if incident.flapping_since is None:
        ask_for_analysis(session, incident)
    notices.announce_opening(session, incident, now)
    suppression.adopt_children(session, incident)
    session.flush()


def ask_for_analysis(session: Session, incident: Incident) -> None:
    """Write the one analysis job of this opening; asking again writes none."""
    jobs.enqueue(
        session,
        ANALYSE,
        {"incident_id": incident.id},
        queue=QUEUE,
        priority=Severity(incident.severity).priority,
        natural_key=f"{ANALYSE}:{incident.id}:{incident.openings}",
    )

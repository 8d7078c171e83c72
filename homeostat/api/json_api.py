"""The JSON API, version 1. Every route wants the token or a browser's session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from homeostat.api import auth, live, views
from homeostat.api.refusals import ANY, MISSING, TOO_LATE
from homeostat.incidents import lifecycle
from homeostat.store import database
from homeostat.supervision import deciding
from workers.sending import send

router = APIRouter(
    prefix="/api/v1",
    # The scheme is declared for OpenAPI's sake: `auth.require` is what looks.
    dependencies=[Depends(auth.BEARER), Depends(auth.require)],
    responses=ANY,
)


def _reading() -> Iterator[Session]:
    with database.reading() as session:
        yield session


Reading = Annotated[Session, Depends(_reading)]
Most = Annotated[int, Query(ge=1, le=500)]


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


class Decision(BaseModel):
    """What a person decides about an approval."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approve", "reject"]
    by: str = Field("api", min_length=1, max_length=100)
    reason: str = Field("", max_length=1000)


class Note(BaseModel):
    """Who does something to an incident, and why."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field("api", min_length=1, max_length=100)
    note: str = Field("", max_length=1000)


@router.get("/status")
def status(session: Reading, nonce: Annotated[str, Query(max_length=64)] = "") -> dict[str, Any]:
    """The state of the whole, with each component's evidence; `nonce` comes back as it was."""
    return {**views.status(session), "nonce": nonce}


@router.get("/components")
def components(session: Reading) -> list[dict[str, Any]]:
    """Every component."""
    found: list[dict[str, Any]] = views.status(session)["components"]
    return found


@router.get("/components/{name}", responses=MISSING)
def component(name: str, session: Reading) -> dict[str, Any]:
    """One component with its newest runs."""
    found = views.component_detail(session, name)
    if found is None:
        raise HTTPException(404, f"No component is named {name!r}; see /api/v1/components.")
    return found


@router.get("/incidents")
def incidents(session: Reading, state: str = "open", most: Most = 100) -> list[dict[str, Any]]:
    """Incidents, the newest first: `open`, `all`, or one state."""
    return views.incidents(session, state=state, most=most)


@router.get("/incidents/{incident_id}", responses=MISSING)
def incident(incident_id: str, session: Reading) -> dict[str, Any]:
    """One incident with its timeline and diagnostic bundle."""
    return views.incident(session, incident_id)


@router.post("/incidents/{incident_id}/acknowledge", responses=MISSING | TOO_LATE)
def acknowledge(incident_id: str, note: Note) -> dict[str, Any]:
    """Take an incident on: reminders and escalation by time stop."""
    with database.transaction() as session:
        found = lifecycle.find(session, incident_id)
        lifecycle.acknowledge(session, found.id, actor=note.by, note=note.note)
        return views.incident(session, found.id)


@router.post("/incidents/{incident_id}/resolve", responses=MISSING | TOO_LATE)
def resolve(incident_id: str, note: Note) -> dict[str, Any]:
    """Say that an incident is over."""
    with database.transaction() as session:
        found = lifecycle.find(session, incident_id)
        lifecycle.resolve(session, found.id, actor=note.by, reason=note.note)
        return views.incident(session, found.id)


@router.get("/approvals")
def approvals(session: Reading) -> dict[str, Any]:
    """What waits for a person, and what was decided of late."""
    return {
        "waiting": views.waiting_approvals(session),
        "decided": views.decided_approvals(session),
    }


@router.post("/approvals/{approval_id}", responses=TOO_LATE)
def decide(approval_id: str, decision: Decision) -> dict[str, str]:
    """Decide an approval, once."""
    approve = decision.decision == "approve"
    deciding.decide(approval_id, approve=approve, by=decision.by, reason=decision.reason, send=send)
    return {"id": approval_id, "decision": decision.decision}


@router.get("/audit")
def audit(
    session: Reading,
    before: int | None = None,
    actor: str = "",
    action: str = "",
    most: Most = 50,
) -> list[dict[str, Any]]:
    """Audit rows, the newest first."""
    return views.audit(session, before=before, actor=actor, action=action, most=most)


@router.get("/reports")
def reports() -> list[dict[str, Any]]:
    """The reports of stress runs."""
    return views.reports()


@router.get("/reports/{name:path}", responses=MISSING, response_class=FileResponse)
def report(name: str) -> FileResponse:
    """One report's file."""
    path = views.report_file(name)
    if path is None:
        raise HTTPException(404, f"No report is named {name!r}; see /api/v1/reports.")
    return FileResponse(path)


@router.get("/events", response_class=EventStream)
def events(request: Request) -> EventStream:
    """Audited acts and steps of incidents as they happen, as server-sent events."""
    return EventStream(live.stream(request))

"""The pages, rendered on the server; they work without any script but the live list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy.orm import Session

from homeostat.api import auth, views
from homeostat.clock import aware, utcnow
from homeostat.incidents import lifecycle
from homeostat.settings import settings
from homeostat.store import database
from homeostat.supervision import deciding
from homeostat.supervision.api_access import TOKEN_FILE
from workers.sending import send

#: A form of ours is a few short fields; a larger body is not one of ours.
LONGEST_FORM = 10_000
NOT_OURS = "This form is not from this session; load the page anew."

router = APIRouter(include_in_schema=False)
inside = APIRouter(include_in_schema=False, dependencies=[Depends(auth.require_browser)])
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


def _moment(value: datetime | None) -> str:
    return aware(value).strftime("%Y-%m-%d %H:%M:%S") if value else "-"


def _ago(value: datetime | None) -> str:
    if value is None:
        return "never"
    seconds = (utcnow() - aware(value)).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


templates.env.filters |= {"moment": _moment, "ago": _ago}


def _reading() -> Iterator[Session]:
    with database.reading() as session:
        yield session


Reading = Annotated[Session, Depends(_reading)]


def _page(request: Request, name: str, **values: Any) -> Response:
    values |= {"form_key": auth.form_key(request), "now": utcnow()}
    return templates.TemplateResponse(request, name, values)


def error_page(request: Request, message: str, status: int) -> Response:
    """Return a page with one sentence that says what was wrong."""
    values: dict[str, Any] = {"message": message, "now": utcnow()}
    if auth.session_holds(request.cookies.get(auth.COOKIE)):
        values["form_key"] = auth.form_key(request)
    return templates.TemplateResponse(request, "error.html", values, status_code=status)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", errors="replace"))
    return {name: values[0] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(_form)]


def _own_form(request: Request, form: dict[str, str]) -> bool:
    return auth.same(form.get("form_key", ""), auth.form_key(request))


@router.get("/login")
def login_page(request: Request) -> Response:
    """Ask for the token."""
    where = settings().state_dir / TOKEN_FILE
    return templates.TemplateResponse(request, "login.html", {"where": where, "now": utcnow()})


@router.post("/login")
def login(request: Request, form: Form) -> Response:
    """Give the browser a session for the token."""
    if not auth.token_fits(form.get("token", "").strip()):
        values = {"where": settings().state_dir / TOKEN_FILE, "wrong": True, "now": utcnow()}
        return templates.TemplateResponse(request, "login.html", values, status_code=401)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        auth.COOKIE, auth.new_session(), max_age=auth.SESSION_S, httponly=True, samesite="strict"
    )
    return answer


@inside.post("/logout")
def logout(request: Request, form: Form) -> Response:
    """End the browser's session."""
    if not _own_form(request, form):
        return error_page(request, NOT_OURS, 403)
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(auth.COOKIE, httponly=True, samesite="strict")
    return answer


@inside.get("/")
def status(request: Request, session: Reading) -> Response:
    """The status matrix."""
    return _page(request, "status.html", **views.status(session))


@inside.get("/components/{name}")
def component(request: Request, name: str, session: Reading) -> Response:
    """One component with its evidence and newest runs."""
    found = views.component_detail(session, name)
    if found is None:
        return error_page(request, f"No component is named {name!r}.", 404)
    return _page(request, "component.html", component=found)


@inside.get("/incidents")
def incidents(request: Request, session: Reading, state: str = "open") -> Response:
    """The incidents."""
    found = views.incidents(session, state=state)
    return _page(request, "incidents.html", incidents=found, state=state)


@inside.get("/incidents/{incident_id}")
def incident(request: Request, incident_id: str, session: Reading) -> Response:
    """One incident with its timeline."""
    return _page(request, "incident.html", incident=views.incident(session, incident_id))


@inside.post("/incidents/{incident_id}/acknowledge")
def acknowledge(request: Request, incident_id: str, form: Form) -> Response:
    """Take an incident on."""
    if not _own_form(request, form):
        return error_page(request, NOT_OURS, 403)
    with database.transaction() as session:
        lifecycle.acknowledge(session, incident_id, actor="web", note=form.get("note", ""))
    return RedirectResponse(f"/incidents/{incident_id}", status_code=303)


@inside.get("/approvals")
def approvals(request: Request, session: Reading) -> Response:
    """What waits for a person."""
    waiting, decided = views.waiting_approvals(session), views.decided_approvals(session)
    return _page(request, "approvals.html", waiting=waiting, decided=decided)


@inside.post("/approvals/{approval_id}")
def decide(request: Request, approval_id: str, form: Form) -> Response:
    """Approve or reject."""
    if not _own_form(request, form) or form.get("decision") not in {"approve", "reject"}:
        return error_page(request, NOT_OURS, 403)
    approve = form["decision"] == "approve"
    deciding.decide(
        approval_id, approve=approve, by="web", reason=form.get("reason", ""), send=send
    )
    return RedirectResponse("/approvals", status_code=303)


@inside.get("/audit")
def audit(
    request: Request,
    session: Reading,
    before: int | None = None,
    actor: str = "",
    action: str = "",
) -> Response:
    """The audit log."""
    rows = views.audit(session, before=before, actor=actor, action=action)
    return _page(request, "audit.html", rows=rows, before=before, actor=actor, action=action)


@inside.get("/reports")
def reports(request: Request) -> Response:
    """The reports of stress runs."""
    return _page(request, "reports.html", reports=views.reports())


@inside.get("/reports/{name:path}")
def report(request: Request, name: str) -> Response:
    """One report's file; its scripts, if it has any, may not act in this site's name."""
    path = views.report_file(name)
    if path is None:
        return error_page(request, f"No report is named {name!r}.", 404)
    policy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    kind = None if path.suffix == ".html" else "text/plain; charset=utf-8"
    return FileResponse(path, media_type=kind, headers={"Content-Security-Policy": policy})


@inside.get("/events")
def events(request: Request) -> Response:
    """What happens, as it happens."""
    return _page(request, "events.html")


@inside.get("/docs")
def docs(request: Request) -> Response:
    """The API's routes, from its own OpenAPI description."""
    return _page(request, "docs.html", paths=request.app.openapi()["paths"])


router.include_router(inside)

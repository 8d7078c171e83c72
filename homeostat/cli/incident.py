"""`homeostat incident`: list, show, timeline, and what a person does with an incident."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from homeostat.cli.output import Format, table
from homeostat.errors import HomeostatError
from homeostat.incidents.failure import Severity

app = typer.Typer(help="Incidents, with their evidence and timelines.", no_args_is_help=True)

Output = Annotated[Format, typer.Option("-o", "--output", help="text or json")]
Identifier = Annotated[str, typer.Argument(help="The incident's id, its beginning, or its label.")]
Actor = Annotated[str, typer.Option("--actor", help="Who does this.")]
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class DurationError(HomeostatError):
    """A duration is a number and a unit, such as 90s, 30m, 2h or 7d."""

    exit_code = 64


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def duration(text: str) -> timedelta:
    """Read `30m`, `2h`, `7d`; raises DurationError."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text.strip().lower())
    if match is None:
        raise DurationError
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _migrated() -> None:
    from homeostat.store import database

    database.migrate()


def _read(view: Callable[[Session], Any]) -> Any:
    from homeostat.store import database

    _migrated()
    with database.reading() as session:
        return view(session)


def _step(
    step: Callable[..., Any], incident_id: str, actor: str, output: Format, said: str
) -> None:
    """Do a person's step in a transaction and show where the incident stands after it.

    `step` is called with the session, the incident's id and, by keyword, the actor.
    """
    from homeostat.incidents import lifecycle, views
    from homeostat.store import database

    _migrated()
    who = actor or _user()
    with database.transaction() as session:
        found = lifecycle.find(session, incident_id).id
        step(session, found, actor=who)
        row = views.incident(session, found, with_bundle=False)
    _say(row, output, f"{row['label']} ({row['id']}) is {said} by {who}; it is {row['state']}.")


def _say(document: Mapping[str, Any], output: Format, sentence: str) -> None:
    typer.echo(json.dumps(document, indent=2) if output is Format.JSON else sentence)


@app.command("list")
def list_incidents(
    output: Output = Format.TEXT,
    *,
    component: Annotated[str | None, typer.Option(help="Only this component's.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Resolved ones, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
) -> None:
    """List open incidents, last seen first."""
    from homeostat.incidents import views

    rows = _read(
        lambda session: views.incidents(
            session,
            component=component,
            states=state or (),
            resolved=None if show_all or state else False,
            limit=limit,
        )
    )
    if output is Format.JSON:
        typer.echo(json.dumps({"incidents": rows}, indent=2))
        return
    table(
        "Incidents" if show_all else "Open incidents",
        ("id", "label", "state", "severity", "count", "last seen", "message"),
        [
            (
                row["id"],
                row["label"],
                row["state"],
                row["severity"],
                str(row["occurrences"]),
                row["last_seen_at"][:19],
                row["message"][:80],
            )
            for row in rows
        ],
    )


@app.command("show")
def show(incident_id: Identifier, output: Output = Format.TEXT) -> None:
    """Show one incident: signature, counts, timeline, and its diagnostic bundle (JSON)."""
    from homeostat.incidents import views

    row = _read(lambda session: views.incident(session, incident_id))
    if output is Format.JSON:
        typer.echo(json.dumps(row, indent=2))
        return
    for key in (
        "id", "label", "component", "task", "severity", "state", "type", "message", "occurrences",
        "openings", "first_seen_at", "last_seen_at", "acknowledged_by", "resolved_by",
        "suppressed_by", "group_key", "replay_key", "reason",
    ):  # fmt: skip
        if row[key] is not None:
            typer.echo(f"{key:16} {row[key]}")
    for raised in (row["bundle"] or {}).get("exception") or []:
        typer.echo(f"\n{raised['type']}: {raised['message']}")
        for frame in raised["frames"]:
            mark = ">" if frame["in_app"] else " "
            where = f"{frame['module']}:{frame['function']}:{frame['line']}"
            typer.echo(f" {mark} {where}  {frame['context']}")
    typer.echo("")
    _show_timeline(row["timeline"])


@app.command("timeline")
def timeline(incident_id: Identifier, output: Output = Format.TEXT) -> None:
    """Show each step of an incident's life, with its actor and how long the state lasted."""
    from homeostat.incidents import views

    rows = _read(lambda session: views.timeline(session, incident_id))
    if output is Format.JSON:
        typer.echo(json.dumps({"timeline": rows}, indent=2))
    else:
        _show_timeline(rows)


def _show_timeline(rows: list[dict[str, Any]]) -> None:
    table(
        "Timeline",
        ("at", "event", "actor", "from", "to", "lasted", "detail"),
        [
            (
                row["at"][:23],
                row["event"],
                row["actor"],
                row["from"] or "",
                row["to"] or "",
                "" if row["seconds"] is None else f"{row['seconds']:.1f} s",
                ", ".join(f"{name}: {value}" for name, value in row["detail"].items() if value),
            )
            for row in rows
        ],
    )


@app.command("ack")
def ack(
    incident_id: Identifier,
    output: Output = Format.TEXT,
    *,
    actor: Actor = "",
    note: Annotated[str, typer.Option(help="What you are going to do.")] = "",
) -> None:
    """Take an incident on: no reminder and no escalation by time any more."""
    from homeostat.incidents import lifecycle

    step = partial(lifecycle.acknowledge, note=note)
    _step(step, incident_id, actor, output, "acknowledged")


@app.command("silence")
def silence(
    incident_id: Identifier,
    output: Output = Format.TEXT,
    *,
    until: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 7d.")] = "2h",
    actor: Actor = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Hold back an incident's announcements for a while; the incident itself goes on."""
    from homeostat.clock import utcnow
    from homeostat.incidents import lifecycle

    ends_at = utcnow() + duration(until)
    step = partial(lifecycle.silence, ends_at=ends_at, reason=reason)
    said = f"silenced until {ends_at.isoformat(timespec='seconds')}"
    _step(step, incident_id, actor, output, said)


@app.command("resolve")
def resolve(
    incident_id: Identifier,
    output: Output = Format.TEXT,
    *,
    actor: Actor = "",
    reason: Annotated[str, typer.Option(help="What ended it.")] = "",
) -> None:
    """Resolve an incident by hand; it opens again if the failure comes back."""
    from homeostat.incidents import lifecycle

    step = partial(lifecycle.resolve, reason=reason)
    _step(step, incident_id, actor, output, "resolved")


@app.command("reopen")
def reopen(
    incident_id: Identifier,
    output: Output = Format.TEXT,
    *,
    actor: Actor = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Open a resolved incident again, with a fresh analysis."""
    from homeostat.incidents import recognition

    step = partial(recognition.reopen_by_hand, reason=reason)
    _step(step, incident_id, actor, output, "reopened")


@app.command("report")
def report_failure(
    file: Annotated[str, typer.Argument(help="A traceback as text, or a JSON event; - for input.")],
    output: Output = Format.TEXT,
    *,
    component: Annotated[str, typer.Option(help="The component that failed.")],
    task: Annotated[str | None, typer.Option(help="The task that failed.")] = None,
    severity: Annotated[Severity, typer.Option(help="How bad it is.")] = Severity.CRITICAL,
) -> None:
    """Report a failure that was seen elsewhere; it becomes an incident like any other."""
    from homeostat.cli.signature import failure_in
    from homeostat.incidents import recognition, views
    from homeostat.store import database

    failure, _ = failure_in(file, component=component, task=task)
    _migrated()
    with database.transaction() as session:
        incident = recognition.report(session, failure, severity=severity)
        row = views.incident(session, incident.id, with_bundle=False)
    seen = f"{row['label']} ({row['id']}) is {row['state']}, seen {row['occurrences']} x."
    _say(row, output, seen)


@app.command("maintenance")
def maintenance(
    component: Annotated[str, typer.Argument(help="A component, or a wing such as kernels.*")],
    output: Output = Format.TEXT,
    *,
    until: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 7d.")] = "1h",
    actor: Actor = "",
    reason: Annotated[str, typer.Option(help="What is being done.")] = "",
) -> None:
    """Open a maintenance window: incidents of the component open, and are not announced."""
    from homeostat.clock import utcnow
    from homeostat.incidents import mutes
    from homeostat.store import database

    ends_at = utcnow() + duration(until)
    _migrated()
    with database.transaction() as session:
        mute = mutes.add(
            session,
            mutes.MuteKind.MAINTENANCE,
            component,
            ends_at=ends_at,
            actor=actor or _user(),
            reason=reason,
        )
        shown = {"id": mute.id, "target": component, "ends_at": ends_at.isoformat()}
    _say(shown, output, f"{component} is under maintenance until {shown['ends_at'][:19]}.")

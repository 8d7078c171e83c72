"""What the store and the slow sources add to a bundle: the failure's background.

`complete` is quick and belongs to the opening's transaction. `look_around` is slow (it asks git)
and is called by the analysis, outside of any transaction; `enrich` stores what it found.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.incidents import surroundings
from homeostat.incidents.bundle import Content, finish, fitted, guarded
from homeostat.settings import settings
from homeostat.store import jobs
from homeostat.store.checks import CheckRun, Lease
from homeostat.store.incidents import Bundle, Incident

LAST_RUNS = 5
RELATED = 10


def complete(session: Session, content: Content, incident: Incident) -> Content:
    """Add what the store knows: component, lease, last runs, queues, related incidents, changes.

    The session is the caller's and stays usable: each part is read behind a savepoint. What
    `capture` gave is clean already, so only what is added is redacted.
    """
    added: Content = {}
    parts: dict[str, Callable[[], JsonValue]] = {
        "component": lambda: _component(session, incident.component),
        "queues": lambda: _queues(session),
        "related": lambda: _related(session, incident),
        "changed": lambda: _changed(session, content),
    }
    for name, part in parts.items():
        try:
            with session.begin_nested():
                added[name] = part()
        except Exception as error:  # noqa: BLE001  # a part that cannot be had costs only itself
            added[name] = {"unavailable": type(error).__name__}
    return fitted(content | finish(added))


def look_around() -> Content:
    """Read what takes long: package versions, the source's revision and its diff. No session."""
    folder = settings().repository or Path.cwd()
    return {
        "packages": guarded(surroundings.packages),
        "source": guarded(lambda: surroundings.revision(folder, with_diff=True)),
    }


def enrich(session: Session, incident: Incident, found: Content) -> bool:
    """Add what `look_around` found to the bundle of the present opening; False without one."""
    stored = session.get(Bundle, (incident.id, incident.openings))
    if stored is None:
        return False
    stored.content = finish({**stored.content, **found})
    session.flush()
    return True


def _spec(name: str) -> JsonValue:
    try:
        return registry.load(name).spec.model_dump(mode="json")
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything at import
        return {"unavailable": type(error).__name__}


def _queues(session: Session) -> JsonValue:
    """Return the jobs that wait per queue: how many, and how long the oldest has waited."""
    return {
        queue: {"waiting": found.jobs, "oldest_s": round(found.oldest_s, 1)}
        for queue, found in jobs.waiting(session).items()
    }


def _changed(session: Session, content: Content) -> JsonValue:
    """Return the settings that differ from those of the newest earlier bundle of any incident."""
    # The settings alone: a bundle may be large, and the rest of it is not asked for.
    before = session.execute(
        select(Bundle.captured_at, Bundle.content["configuration"])
        .order_by(Bundle.captured_at.desc())
        .limit(1)
    ).first()
    if before is None:
        return None
    captured_at, configuration = before
    then, now = _settings(configuration), _settings(content.get("configuration"))
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return {
        "since": captured_at.isoformat(),
        "settings": {name: [then.get(name), now.get(name)] for name in names},
    }


def _settings(configuration: JsonValue) -> dict[str, JsonValue]:
    found = configuration.get("settings") if isinstance(configuration, dict) else None
    return found if isinstance(found, dict) else {}


def _component(session: Session, name: str) -> JsonValue:
    lease = session.get(Lease, name)
    runs = session.scalars(
        select(CheckRun)
        .where(CheckRun.component == name)
        .order_by(CheckRun.started_at.desc())
        .limit(LAST_RUNS)
    )
    return {
        "name": name,
        "spec": _spec(name),
        "lease": None
        if lease is None
        else {
            "holder": lease.holder,
            "renewed_at": _iso(lease.renewed_at),
            "expires_at": _iso(lease.expires_at),
            "probe_passed": lease.probe_passed,
            "failures_in_row": lease.failures_in_row,
            "failed_since": _iso(lease.failed_since),
        },
        "last_runs": [
            {
                "entry": run.entry,
                "due_at": _iso(run.due_at),
                "started_at": _iso(run.started_at),
                "ended_at": _iso(run.ended_at),
                "passed": run.passed,
                "work": run.work,
                "worker": run.worker,
            }
            for run in runs
        ],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _related(session: Session, incident: Incident) -> JsonValue:
    """Return the incidents that are open now or share the component, newest first."""
    alike = (Incident.component == incident.component) | Incident.resolved_at.is_(None)
    found = session.scalars(
        select(Incident)
        .where(Incident.id != incident.id, alike)
        .order_by(Incident.last_seen_at.desc())
        .limit(RELATED)
    )
    return [
        {
            "id": other.id,
            "label": other.label,
            "component": other.component,
            "state": other.state,
            "occurrences": other.occurrences,
            "last_seen_at": other.last_seen_at.isoformat(),
        }
        for other in found
    ]

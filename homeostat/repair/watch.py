"""What is seen of a fix after it was applied, and what that says of it.

A fix stands where its failing command passes on the repository as it is now, the tests behind an
instant replay show nothing new, and the component's probe, or the task's next run, passed. It
falls where one of them fails, where the failure comes back, where something new breaks in the
code that it changed, where the probe of another component of the repository fails that passed
before it, and where the proof has not come within one probe interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.incidents.failure import Source
from homeostat.repair.pickup import in_force_since, landed_at
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun, Lease
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.supervision import renewal

#: Between two looks; the sweeper, which finds the due row, comes as often.
LOOK_EVERY = timedelta(seconds=5)
#: The interval of what no timetable knows, such as a task of the user's own application.
INTERVAL_S = 60.0


@dataclass(frozen=True)
class Sight:
    """What the watch saw: whether the fix stands (None: not known yet), and why."""

    stands: bool | None
    reason: str
    seen: Mapping[str, JsonValue] = field(default_factory=dict)


def interval_s(session: Session, component: str) -> float:
    """Return the probe interval of a component in seconds, or that of a task without a probe."""
    shortest = session.scalar(
        select(func.min(BeatEntry.interval_s)).where(BeatEntry.task == f"checks.{component}")
    )
    return float(shortest) if shortest else INTERVAL_S


def has_probe(session: Session, component: str) -> bool:
    """Whether the timetable checks the component."""
    return (
        session.scalar(select(BeatEntry.name).where(BeatEntry.task == f"checks.{component}"))
        is not None
    )


def look(session: Session, repair: Repair, incident: Incident, now: datetime) -> Sight:
    """Say whether the fix of an incident stands; the command's replay is in the row already."""
    since = in_force_since(repair, now)
    replay, behind = repair.watch.get("replay", ""), repair.watch.get("behind", "")
    if replay or behind:
        return Sight(False, replay or behind)
    if refused := _refused(repair):
        return Sight(False, refused)
    if since is None:
        return Sight(None, "the old code still runs")
    if incident.last_seen_at > since:
        return Sight(False, f"the failure came back at {incident.last_seen_at.isoformat()}")
    if harmed := _harmed(session, repair, incident, since):
        return Sight(False, f"{harmed} opened in code that the fix changed")
    lived = _lived(session, incident, since) if now >= since else None
    if lived is not None:
        return _beside(session, repair, incident, since, now) or lived
    if now < since + timedelta(seconds=interval_s(session, incident.component)):
        return Sight(None, "nothing ran with the new code yet")
    if has_probe(session, incident.component):
        return Sight(False, "no probe of the component passed within one interval")
    return Sight(True, "the command passes; the task was not asked for within the interval",
                 {"task_ran": False})  # fmt: skip


def _refused(repair: Repair) -> str:
    folder = renewal.git_folder_of(Path(repair.repository))
    return renewal.refusal(folder, repair.commit) if folder else ""


def _harmed(session: Session, repair: Repair, incident: Incident, since: datetime) -> str:
    """Return the label of a failure that is new since, in the changed code or the component.

    New is what began after the fix had landed and was seen again with the new code alone: it may
    have begun in the first worker that took it up. What a trigger saw is an echo of other
    failures, which count themselves.
    """
    landed = landed_at(repair) or since
    opened = session.scalars(
        select(Incident)
        .where(
            Incident.opened_at > landed,
            Incident.first_seen_at > landed,
            Incident.last_seen_at > since,
            Incident.id != incident.id,
            Incident.source != Source.TRIGGER,
            Incident.resolved_at.is_(None),
        )
        .order_by(Incident.opened_at)
        .limit(50)
    )
    changed = [_module(path) for path in repair.changes]
    for other in opened:
        frames = [str(frame).split(":", 1)[0] for frame in other.basis.get("frames", [])]
        touched = any(_same(frame, module) for frame in frames for module in changed)
        if touched or other.component == incident.component:
            return other.label
    return ""


def _lived(session: Session, incident: Incident, since: datetime) -> Sight | None:
    """Return the sight of the component's check or the task's run with the new code."""
    run = _last_run(session, incident.component, since=since)
    if run is not None:
        what = f"the probe of {incident.component} {'passed' if run.passed else 'failed'}"
        return Sight(run.passed, what, {"due_at": run.due_at.isoformat()})
    if incident.healthy_runs:
        runs = incident.healthy_runs
        return Sight(True, f"{incident.component} ran {runs} times and did not fail",
                     {"healthy_runs": runs})  # fmt: skip
    return None


def _beside(
    session: Session, repair: Repair, incident: Incident, since: datetime, now: datetime
) -> Sight | None:
    """Return the harm that the repository's other components show, or that they are waited for.

    None where each of them that passed before the fix was probed with it and passed, or was not
    probed within its interval.
    """
    waits = ""
    for name in registry.plugins_in(Path(repair.repository)):
        if name == incident.component or not _passed_before(session, repair, name, since):
            continue
        after = _last_run(session, name, since=since)
        if after is not None and not after.passed:
            return Sight(False, f"the probe of {name} failed, which passed before the fix",
                         {"due_at": after.due_at.isoformat()})  # fmt: skip
        if after is None and now < since + timedelta(seconds=interval_s(session, name)):
            waits = name
    return Sight(None, f"{waits} was not probed with the new code yet") if waits else None


def _passed_before(session: Session, repair: Repair, component: str, since: datetime) -> bool:
    """Whether the component's last check before the fix landed passed.

    A boot that passed leaves no run: where no tick came between it and the fix, the lease tells.
    """
    before = _last_run(session, component, until=landed_at(repair) or since)
    if before is not None:
        return before.passed
    lease = session.get(Lease, component)
    return lease is not None and lease.renewed_at is not None and lease.renewed_at < since


def _last_run(
    session: Session,
    component: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> CheckRun | None:
    """Return the last check of a component that began since one moment and ended by another."""
    statement = select(CheckRun).where(CheckRun.component == component)
    if since is not None:
        statement = statement.where(CheckRun.started_at >= since)
    if until is not None:
        statement = statement.where(CheckRun.ended_at <= until)
    return session.scalar(statement.order_by(CheckRun.started_at.desc()).limit(1))


def _module(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _same(seen: str, module: str) -> bool:
    """Whether two dotted names mean one module; either may lack the folders before it."""
    return seen == module or module.endswith(f".{seen}") or seen.endswith(f".{module}")

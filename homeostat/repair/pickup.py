"""When mended code came into force: which process took it up, and how long after the commit."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import from_iso, utcnow
from homeostat.incidents.lifecycle import State
from homeostat.repair.story import tell
from homeostat.settings import settings
from homeostat.store import database
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.supervision import renewal
from homeostat.supervision.renewal import Renewal, Revision

log = logging.getLogger(__name__)

#: After the last process took up the code, old runs of it may still come to their end.
STRAGGLERS = timedelta(seconds=2)
#: Where no process said that it took the code up, it is taken to be in force after this.
UNSEEN = timedelta(seconds=15)
#: How long a process may take to end what it is at and to start again with the new code.
LONGEST_WAIT = timedelta(minutes=2)


def follow(modules: Iterable[str], since: datetime, role: str) -> Renewal:
    """Keep this process on the code as it is mended; say which fixes it runs already.

    `modules` name the code, `since` is when this process began to read it. To be called in a
    worker's main process, once it is ready.
    """
    names = set(modules)
    following = Renewal(followed(names), since, names)
    for seen in following.running():
        if seen.at <= since:
            _note(seen, role)
    following.start()
    return following


def followed(modules: Iterable[str]) -> set[Path]:
    """Return the git folders of what this process runs: its modules, and what plugs in."""
    folders = renewal.git_folders(modules)
    repository = settings().repository
    if repository is not None and renewal.runs_from(repository):
        folders |= {folder for folder in [renewal.git_folder_of(repository)] if folder}
    return folders


def _note(seen: Revision, role: str) -> None:
    try:
        with database.transaction() as session:
            note(session, seen, f"{role}@{socket.gethostname()}:{os.getpid()}")
    except Exception:
        # The worker works all the same; the watch then waits longer.
        log.exception("It could not be noted that fix %s was taken up", seen.commit)


def note(session: Session, seen: Revision, who: str) -> bool:
    """Note that a process runs a fix's code; False where no repair has that commit."""
    repair = session.scalar(
        select(Repair).where(Repair.commit == seen.commit).with_for_update().limit(1)
    )
    if repair is None:
        return False
    now = utcnow()
    seconds = round((now - seen.at).total_seconds(), 2)
    taken_up = {"who": who, "at": now.isoformat(), "seconds": seconds}
    repair.watch = {**repair.watch, "taken_up": [*repair.watch.get("taken_up", []), taken_up]}
    incident = session.get(Incident, repair.incident_id)
    if incident is not None and incident.state == State.VERIFYING:
        # Runs of the old code prove nothing of the new.
        incident.healthy_runs = 0
    tell(repair, f"the new code runs {seconds} s after the commit", who)
    return True


def landed_at(repair: Repair) -> datetime | None:
    """Return when the fix's files were in place; None where that was not told."""
    return from_iso(repair.watch["landed_at"]) if "landed_at" in repair.watch else None


def in_force_since(repair: Repair, now: datetime) -> datetime | None:
    """Return the moment from which failures are the new code's; None while old code still runs.

    A process that has not taken the fix up after the longest wait is waited for no longer.
    """
    if repair.applied_at is None:
        return None
    landed = landed_at(repair)
    folder = renewal.git_folder_of(Path(repair.repository))
    waits = now < repair.applied_at + LONGEST_WAIT
    if waits and folder and landed and renewal.lagging(folder, landed):
        return None
    taken_up = [from_iso(one["at"]) for one in repair.watch.get("taken_up", [])]
    if taken_up:
        return max(taken_up) + STRAGGLERS
    return repair.applied_at + UNSEEN

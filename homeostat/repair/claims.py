"""One repair per opening of an incident: who began it holds it, and a dead holder loses it."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

import psutil
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.store.rows import insert_into

#: How long a holder on another host is believed in: the hard limit of an analysis, and a minute.
LEASE = timedelta(minutes=11)
#: The status of a repair that was begun and whose patch is still searched.
WORKING = "working"


def claim_of(incident: Incident) -> str:
    """Return the natural key of the repair of an incident's present opening."""
    return f"{incident.id}:{incident.openings}"


def me() -> str:
    """Return this process's name: host, pid and start, so that a pid used again is another."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def take(session: Session, incident: Incident, repository: Path, command: str) -> Repair | None:
    """Return the repair of the incident's opening, made where there is none, held by this process.

    None where another process that may still live holds it. Two that ask at once are told one
    after the other: by SQLite's write lock, by PostgreSQL's row lock.
    """
    seen = incident.replay_key if incident.basis.get("target_hash") else ""
    session.execute(
        insert_into(session, Repair)
        .values(
            id=new_id(),
            claim=claim_of(incident),
            incident_id=incident.id,
            repository=str(repository),
            command=command,
            status=WORKING,
            seen_key=seen,
            outcome={},
            changes={},
            preimages={},
            story=[{"at": utcnow().isoformat(), "what": "begun", "actor": me()}],
            created_at=utcnow(),
        )
        .on_conflict_do_nothing(index_elements=["claim"])
    )
    return hold(session, claim_of(incident))


def hold(session: Session, claim: str) -> Repair | None:
    """Take hold of the repair under a claim; None where there is none, or another holds it."""
    row = session.scalar(
        select(Repair)
        .where(Repair.claim == claim)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None or _held_by_another(row):
        return None
    row.holder, row.lease_until = me(), utcnow() + LEASE
    session.flush()
    return row


def begun(session: Session, incident: Incident) -> Repair | None:
    """Return the repair of the incident's present opening where one was begun, by whomever."""
    return session.scalar(select(Repair).where(Repair.claim == claim_of(incident)))


def is_held(repair: Repair) -> bool:
    """Whether a process that may still live works on the repair."""
    return bool(repair.holder) and (repair.holder == me() or _held_by_another(repair))


def release(repair: Repair) -> None:
    """Let go of a repair, because nothing is to be done on it now."""
    repair.holder, repair.lease_until = "", None


def _held_by_another(repair: Repair) -> bool:
    if repair.holder in {"", me()} or repair.lease_until is None or repair.lease_until <= utcnow():
        return False
    host, pid, started = repair.holder.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == started
    except psutil.NoSuchProcess:
        return False

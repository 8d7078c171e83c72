"""A repair's commit: made once, found again, and whether it is still what the code says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.kernels.coding_agent.record import ACTOR
from homeostat.repair.apply import commit_changes, fix_message
from homeostat.repair.outcome import Status
from homeostat.repair.tree import Tree
from homeostat.store.incidents import Incident
from homeostat.store.repair import Repair
from homeostat.supervision import renewal


def committed(repair: Repair) -> str:
    """Return the commit of a repair's patch, made where there is none yet; raises ApplyError."""
    fix = repair.outcome["fix"]
    message = fix_message(
        repair.id,
        fix["title"],
        repair.outcome["failure"],
        incident_id=repair.incident_id,
        approved_by="" if repair.decided_by == ACTOR else repair.decided_by,
        proof=[(one["name"], one["detail"]) for one in fix["proof"]["steps"]],
    )
    return commit_changes(
        Path(repair.repository), repair.changes, message,
        preimages=repair.preimages, repair_id=repair.id,
    )  # fmt: skip


def landed_at(repair: Repair) -> datetime:
    """Return when the commit's files were in place: by its mark, or now."""
    folder = renewal.git_folder_of(Path(repair.repository))
    mark = renewal.revision(folder) if folder else None
    return mark.at if mark is not None and mark.commit == repair.commit else utcnow()


def undone_by_others(session: Session, incident: Incident, repair: Repair) -> bool:
    """Whether the last fix of the incident stood, and somebody changed its files since."""
    last = session.scalar(
        select(Repair)
        .where(Repair.incident_id == incident.id, Repair.id != repair.id)
        .order_by(Repair.created_at.desc())
        .limit(1)
    )
    if last is None or last.watch.get("ended", {}).get("how") != "stands":
        return False
    now = Tree(Path(last.repository))
    return last.status == Status.APPLIED and any(
        now.read(path) != text for path, text in last.changes.items()
    )

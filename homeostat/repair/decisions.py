"""What a person decides on a proposed fix: approve, reject, take back."""

from __future__ import annotations

from pathlib import Path

from homeostat.errors import HomeostatError
from homeostat.repair.apply import commit_changes, fix_message, revert_commit
from homeostat.repair.knowledge import Knowledge
from homeostat.store.repair import Repair

_OPEN = frozenset({"proposed", "waiting"})


class NotOpenError(HomeostatError):
    """The repair is not waiting for a decision."""

    exit_code = 65


def approve(knowledge: Knowledge, repair_id: str, actor: str) -> Repair:
    """Apply a proposed fix as a commit, exactly as it was proven.

    Raises NotOpenError where nothing waits, and ApplyError where a file has changed since.
    """
    row = _open(knowledge, repair_id)
    title = row.outcome["fix"]["title"]
    message = fix_message(row.id, title, row.outcome["failure"], approved_by=actor)
    commit = commit_changes(
        Path(row.repository), row.changes, message, preimages=row.preimages, repair_id=row.id
    )
    knowledge.decide(repair_id, "applied", actor, commit, "approved and applied")
    knowledge.credit(repair_id, success=True)
    return knowledge.repair(repair_id)


def reject(knowledge: Knowledge, repair_id: str, actor: str, reason: str) -> Repair:
    """Refuse a proposed fix; it will not be replayed."""
    _open(knowledge, repair_id)
    knowledge.decide(repair_id, "rejected", actor, "", f"rejected: {reason}")
    knowledge.credit(repair_id, success=False)
    return knowledge.repair(repair_id)


def take_back(knowledge: Knowledge, repair_id: str, actor: str, reason: str) -> Repair:
    """Revert an applied fix by a new commit, and count it against the fix."""
    row = knowledge.repair(repair_id)
    if row.status != "applied" or not row.commit:
        raise NotOpenError(f"Repair {repair_id} is {row.status}; only an applied one goes back.")
    commit = revert_commit(Path(row.repository), row.commit, reason, repair_id=row.id)
    knowledge.decide(repair_id, "reverted", actor, commit, f"taken back: {reason}")
    knowledge.credit(repair_id, success=False)
    return knowledge.repair(repair_id)


def _open(knowledge: Knowledge, repair_id: str) -> Repair:
    row = knowledge.repair(repair_id)
    if row.status not in _OPEN:
        raise NotOpenError(f"Repair {repair_id} is {row.status}; it waits for no decision.")
    return row

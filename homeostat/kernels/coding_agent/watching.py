"""After a fix was applied: it is looked at until it stands, or it is taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents import budgets, lifecycle
from homeostat.incidents.lifecycle import State
from homeostat.kernels.coding_agent import record
from homeostat.kernels.coding_agent.mending import OTHER
from homeostat.kernels.coding_agent.record import ACTOR
from homeostat.repair import agent, knowledge, story, watch
from homeostat.repair.apply import (
    ApplyError,
    recover,
    revert_commit,
    texts_before,
)
from homeostat.repair.decisions import NotOpenError
from homeostat.repair.outcome import Status
from homeostat.repair.watch import Sight
from homeostat.store import database, track_records
from homeostat.store.repair import Repair
from homeostat.supervision.ports import Clarity

APPLIED, REVERTED = Status.APPLIED.value, Status.REVERTED.value


@dataclass(frozen=True)
class Watching:
    """The watch's steps; each opens transactions of its own and none while it runs a command."""

    clarity: Clarity

    def look(self, repair_id: str) -> datetime | None:
        """Look at an applied fix; return when to look again, None where the watch is over."""
        repair = _read(repair_id)
        if repair.status != APPLIED or "ended" in repair.watch:
            return None
        if "replay" not in repair.watch:
            self._replay(repair)
        with database.transaction() as session:
            row = _locked(session, repair_id)
            incident = lifecycle.find(session, row.incident_id)
            sight = watch.look(session, row, incident, utcnow())
            if sight.stands is None:
                return utcnow() + watch.LOOK_EVERY
            if sight.stands:
                self._stands(session, row, sight)
        if not sight.stands:
            self.take_back(repair_id, sight.reason, seen=sight.seen)
        return None

    def _replay(self, repair: Repair) -> None:
        """Run the failing command, and the tests behind an instant replay, on the code as it is."""
        repository = Path(repair.repository)
        seen = {"replay": "", "behind": ""}
        try:
            recover(repository)
            if failure := agent.replay(repository, repair.command):
                seen["replay"] = f"`{repair.command}` still fails: {failure}"
            elif repair.outcome.get("from_knowledge"):
                before = texts_before(repository, repair.commit)
                proof = agent.tests_behind(repository, repair.command, before, repair.changes)
                if proof.steps and not proof.holds:
                    seen["behind"] = proof.refusal
        except HomeostatError as error:
            # What cannot be shown to work does not stay.
            seen["replay"] = f"the command could not be run again: {error}"
        with database.transaction() as session:
            row = _locked(session, repair.id)
            row.watch = {**row.watch, **seen}

    def _stands(self, session: Session, repair: Repair, sight: Sight) -> None:
        _end(repair, "stands", sight)
        knowledge.credit(session, repair, success=True)
        track_records.note(session, OTHER, repair.replay_key, succeeded=True)
        if repair.attempt_id:
            budgets.note_outcome(session, repair.attempt_id, "fixed")
        detail: dict[str, JsonValue] = {
            "repair": repair.id, "commit": repair.commit, "evidence": sight.reason, **sight.seen
        }  # fmt: skip
        lifecycle.transition(
            session, repair.incident_id, State.RESOLVED, actor=ACTOR,
            expected=(State.VERIFYING,), detail=detail,
        )  # fmt: skip
        record.step(session, self.clarity, repair, "verified", rule="the watch",
                    outcome=sight.reason, more=sight.seen)  # fmt: skip

    def take_back(
        self,
        repair_id: str,
        reason: str,
        *,
        actor: str = ACTOR,
        seen: Mapping[str, JsonValue] | None = None,
    ) -> Repair:
        """Take an applied fix back by a new commit, and count it against the fix.

        Where a file has changed since, nothing is written and a person is asked. Raises
        NotOpenError where the fix is not applied.
        """
        repair = _read(repair_id)
        if repair.status != APPLIED:
            raise NotOpenError(f"Repair {repair_id} is {repair.status}; only an applied one goes.")
        back = problem = ""
        try:
            repository = Path(repair.repository)
            back = revert_commit(repository, repair.commit, reason, repair_id=repair_id)
        except ApplyError as error:
            problem = f"; it could not be taken back: {error}"
        with database.transaction() as session:
            row = _locked(session, repair_id)
            if row.status != APPLIED:
                return row
            self._fell(session, row, back, reason + problem, actor, seen or {})
            return row

    def _fell(
        self,
        session: Session,
        repair: Repair,
        back: str,
        reason: str,
        actor: str,
        seen: Mapping[str, JsonValue],
    ) -> None:
        repair.status = REVERTED if back else "failed"
        repair.watch = {**repair.watch, "taken_back_by": back}
        _end(repair, "fell", Sight(False, reason, seen))
        knowledge.credit(session, repair, success=False)
        track_records.note(session, OTHER, repair.replay_key, succeeded=False)
        if repair.attempt_id:
            budgets.note_outcome(session, repair.attempt_id, "reverted")
        detail: dict[str, JsonValue] = {
            "repair": repair.id, "commit": repair.commit, "taken_back_by": back,
            "reason": f"the fix was taken back: {reason}" if back else reason,
        }  # fmt: skip
        lifecycle.transition(
            session, repair.incident_id, State.ESCALATED, actor=actor,
            expected=(State.VERIFYING,), detail=detail,
        )  # fmt: skip
        record.step(
            session, self.clarity, repair, "reverted" if back else "not_reverted",
            rule="the watch" if actor == ACTOR else "a person's word", outcome=reason,
            actor=actor, more={"taken_back_by": back},
        )  # fmt: skip


def _end(repair: Repair, how: str, sight: Sight) -> None:
    ended = {"how": how, "at": utcnow().isoformat(), "why": sight.reason, "seen": dict(sight.seen)}
    repair.watch = {**repair.watch, "ended": ended}


def _read(repair_id: str) -> Repair:
    with database.reading() as session:
        return story.find(session, repair_id)


def _locked(session: Session, repair_id: str) -> Repair:
    return session.get_one(Repair, repair_id, populate_existing=True, with_for_update=True)

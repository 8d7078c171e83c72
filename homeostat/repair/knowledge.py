"""The knowledge base: which fix held for which failure, how it fared, and replaying it.

It lives in Homeostat's database, or in an SQLite file of its own (`--knowledge PATH`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.repair.case import Candidate, Case, DefectClass, Origin, Side
from homeostat.repair.story import find, tell
from homeostat.repair.tree import Tree, digest
from homeostat.store.database import make_engine
from homeostat.store.repair import KnownFix, Repair

if TYPE_CHECKING:
    from homeostat.repair.outcome import Attempt, RepairOutcome

#: Seconds of a replay from which it is begun beside the reproduction, on the second processor.
WORTH_A_GUESS_S = 1.0
#: Statuses that say a fix has been put to use.
_IN_USE = frozenset({"applied"})


class OldKnowledgeError(HomeostatError):
    """A stand-alone knowledge base of an earlier version lacks columns; begin a new one."""

    exit_code = 65


class KnowledgeFileError(HomeostatError):
    """A stand-alone knowledge base cannot be opened; give another path."""

    exit_code = 66


class Knowledge:
    """Reads and writes repairs and known fixes, each in a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def at(cls, path: Path) -> Knowledge:
        """Open, or make, a stand-alone knowledge base in an SQLite file.

        Raises OldKnowledgeError where an earlier version made it, and KnowledgeFileError where the
        file cannot be opened or is something else.
        """
        tables = [KnownFix.metadata.tables[name] for name in ("known_fixes", "repairs")]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            engine = make_engine(f"sqlite:///{path.absolute()}")
            KnownFix.metadata.create_all(engine, tables=tables)
        except (OSError, DBAPIError) as error:
            why = error.orig if isinstance(error, DBAPIError) else error.strerror
            raise KnowledgeFileError(
                f"The knowledge base {path} cannot be opened ({why}); give another path."
            ) from error
        there = {column["name"] for column in inspect(engine).get_columns("repairs")}
        if not there.issuperset(column.name for column in Repair.__table__.columns):
            raise OldKnowledgeError(
                f"The knowledge base {path} was made by an earlier version; give another path, or "
                "remove the file to begin anew."
            )
        return cls(engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session that commits at its end."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def expected(self, repository: Path, command: str, tree: Tree) -> Candidate | None:
        """Return the fix that stood for this command the last time, where its files are the same.

        A guess: only the failure itself says whether it is the same again. None where the proof's
        own replay took less than `WORTH_A_GUESS_S`, and a guess would save nothing.
        """
        statement = (
            select(Repair)
            .where(
                Repair.repository == str(repository),
                Repair.command == command,
                Repair.status.in_(_IN_USE),
            )
            .order_by(Repair.created_at.desc())
            .limit(1)
        )
        with self.session() as session:
            last = session.scalar(statement)
        if last is None or _replay_s(last) < WORTH_A_GUESS_S:
            return None
        return self.candidate(last.replay_key, tree)

    def candidate(self, replay_key: str, tree: Tree) -> Candidate | None:
        """Return the known fix for a replay key whose files are exactly what they were.

        One that failed more often than it succeeded is not offered again.
        """
        with self.session() as session:
            rows = session.scalars(
                select(KnownFix)
                .where(KnownFix.replay_key == replay_key)
                .order_by(KnownFix.successes.desc())
            ).all()
        for row in rows:
            fits = all(digest(tree.read(path)) == old for path, old in row.preimages.items())
            if fits and row.failures <= row.successes:
                return Candidate(
                    strategy=row.strategy,
                    defect=DefectClass(row.defect),
                    title=row.title,
                    changes=dict(row.changes),
                    origin=Origin.KNOWLEDGE,
                    side=Side(row.side),
                    score=1.0,
                    rule="a replay of a proven fix",
                    parameters={**row.parameters, "known_fix": row.id},
                    atomic=True,
                    may_defer_imports=row.defect == DefectClass.CIRCULAR_IMPORT.value,
                )
        return None

    def successes(self, replay_key: str) -> int:
        """Return how much oftener a fix for this key was applied and stood than it was not."""
        with self.session() as session:
            rows = session.scalars(select(KnownFix).where(KnownFix.replay_key == replay_key))
            return max((row.successes - row.failures for row in rows), default=0)

    def given_up(self, replay_key: str) -> set[str]:
        """Return the patches for this key that failed oftener than they stood."""
        statement = select(KnownFix.patch).where(
            KnownFix.replay_key == replay_key, KnownFix.failures > KnownFix.successes
        )
        with self.session() as session:
            return set(session.scalars(statement))

    def record(self, outcome: RepairOutcome, case: Case, incident_id: str = "") -> None:
        """Keep the repair, in its row where it has one, and its fix where one held its proof."""
        changes = dict(outcome.chosen.candidate.changes) if outcome.chosen else {}
        preimages = {path: digest(case.tree.read(path)) for path in changes}
        with self.session() as session:
            row = session.get(Repair, outcome.id)
            if row is None:
                row = Repair(id=outcome.id, incident_id=incident_id, story=[])
                session.add(row)
            row.repository, row.command = str(case.repository), outcome.command
            row.status, row.outcome = outcome.status.value, outcome.as_json()
            row.group_key, row.replay_key = outcome.group_key, outcome.replay_key
            row.changes, row.preimages, row.commit = changes, preimages, outcome.commit
            tell(row, outcome.status.value)
            if outcome.chosen is not None:
                self._learn(session, outcome, outcome.chosen, preimages)

    def _learn(
        self,
        session: Session,
        outcome: RepairOutcome,
        chosen: Attempt,
        preimages: dict[str, str],
    ) -> None:
        candidate = chosen.candidate
        patch = patch_digest(dict(candidate.changes))
        row = session.scalar(
            select(KnownFix).where(
                KnownFix.replay_key == outcome.replay_key, KnownFix.patch == patch
            )
        )
        if row is None:
            row = KnownFix(
                replay_key=outcome.replay_key,
                group_key=outcome.group_key,
                patch=patch,
                strategy=candidate.strategy,
                defect=candidate.defect.value,
                side=candidate.side.value,
                title=candidate.title,
                parameters=dict(candidate.parameters),
                changes=dict(candidate.changes),
                preimages=preimages,
                diff=chosen.diff,
                proof=chosen.proof.as_json(),
                successes=0,
                failures=0,
            )
            session.add(row)
        row.last_used_at = utcnow()
        if outcome.status.value in _IN_USE:
            row.successes += 1
        elif outcome.status.value == "reverted":
            row.failures += 1

    def credit(self, repair_id: str, *, success: bool) -> None:
        """Count an approved or failed use of the fix of a repair."""
        with self.session() as session:
            credit(session, find(session, repair_id), success=success)

    def repair(self, repair_id: str) -> Repair:
        """Return a repair by its id; raises UnknownRepairError."""
        with self.session() as session:
            return find(session, repair_id)

    def decide(self, repair_id: str, status: str, actor: str, commit: str, what: str) -> None:
        """Record what was decided on a repair, by whom, and add to its story."""
        with self.session() as session:
            row = find(session, repair_id)
            row.status, row.decided_by, row.decided_at = status, actor, utcnow()
            row.commit = commit or row.commit
            tell(row, what, actor)

    def repairs(self, limit: int = 50) -> list[Repair]:
        """Return the newest repairs."""
        with self.session() as session:
            return list(
                session.scalars(select(Repair).order_by(Repair.created_at.desc()).limit(limit))
            )

    def fixes(self, limit: int = 100) -> list[KnownFix]:
        """Return the known fixes, latest used first."""
        with self.session() as session:
            return list(
                session.scalars(
                    select(KnownFix).order_by(KnownFix.last_used_at.desc()).limit(limit)
                )
            )


def _replay_s(repair: Repair) -> float:
    """Return how long the run of a repair's replay took, in seconds; 0 where that was not told."""
    fix = repair.outcome.get("fix") or {}
    steps = fix.get("proof", {}).get("steps", [])
    return float(next((one["observed"].get("run_s", 0.0) for one in steps
                       if one["name"] == "replay"), 0.0))  # fmt: skip


def credit(session: Session, repair: Repair, *, success: bool) -> None:
    """Count one use of a repair's fix for it or against it."""
    row = session.scalar(
        select(KnownFix).where(
            KnownFix.replay_key == repair.replay_key,
            KnownFix.patch == patch_digest(repair.changes),
        )
    )
    if row is not None:
        row.successes += int(success)
        row.failures += int(not success)
        row.last_used_at = utcnow()


def trusted_repair(session: Session, seen_key: str) -> Repair | None:
    """Return the newest repair that ended such an incident and whose fix has stood since."""
    found = session.scalars(
        select(Repair)
        .where(Repair.seen_key == seen_key, Repair.status == "applied")
        .order_by(Repair.created_at.desc())
        .limit(10)
    )
    for repair in found:
        fix = session.scalar(
            select(KnownFix).where(
                KnownFix.replay_key == repair.replay_key,
                KnownFix.patch == patch_digest(repair.changes),
            )
        )
        if fix is not None and fix.successes > fix.failures:
            return repair
    return None


def patch_digest(changes: dict[str, str | None]) -> str:
    """Return the identity of a patch."""
    text = json.dumps(changes, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

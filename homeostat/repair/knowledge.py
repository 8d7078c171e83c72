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

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.repair.case import Candidate, Case, DefectClass, Origin, Side
from homeostat.repair.tree import digest
from homeostat.store.database import make_engine
from homeostat.store.repair import KnownFix, Repair

if TYPE_CHECKING:
    from homeostat.repair.agent import Attempt, RepairOutcome

#: Statuses that say a fix has been put to use.
_IN_USE = frozenset({"applied"})


class UnknownRepairError(HomeostatError):
    """No repair has that id; `homeostat fix list` shows the ids."""

    exit_code = 64


class Knowledge:
    """Reads and writes repairs and known fixes, each in a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def at(cls, path: Path) -> Knowledge:
        """Open, or make, a stand-alone knowledge base in an SQLite file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = make_engine(f"sqlite:///{path.absolute()}")
        KnownFix.metadata.create_all(
            engine, tables=[KnownFix.metadata.tables[name] for name in ("known_fixes", "repairs")]
        )
        return cls(engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session that commits at its end."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def candidate(self, replay_key: str, case: Case) -> Candidate | None:
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
            fits = all(digest(case.tree.read(path)) == old for path, old in row.preimages.items())
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
        """Return how often fixes for this key were applied and stood."""
        with self.session() as session:
            rows = session.scalars(select(KnownFix).where(KnownFix.replay_key == replay_key))
            return max((row.successes for row in rows), default=0)

    def record(self, outcome: RepairOutcome, case: Case) -> None:
        """Keep the repair, and its fix where one held its proof."""
        changes = dict(outcome.chosen.candidate.changes) if outcome.chosen else {}
        preimages = {path: digest(case.tree.read(path)) for path in changes}
        with self.session() as session:
            session.add(
                Repair(
                    id=outcome.id,
                    repository=str(case.repository),
                    command=outcome.command,
                    status=outcome.status.value,
                    group_key=outcome.group_key,
                    replay_key=outcome.replay_key,
                    outcome=outcome.as_json(),
                    changes=changes,
                    preimages=preimages,
                    commit=outcome.commit,
                    story=[{"at": utcnow().isoformat(), "what": outcome.status.value}],
                )
            )
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
            repair = self._repair(session, repair_id)
            patch = patch_digest(repair.changes)
            row = session.scalar(
                select(KnownFix).where(
                    KnownFix.replay_key == repair.replay_key, KnownFix.patch == patch
                )
            )
            if row is not None:
                row.successes += int(success)
                row.failures += int(not success)

    def repair(self, repair_id: str) -> Repair:
        """Return a repair by its id; raises UnknownRepairError."""
        with self.session() as session:
            return self._repair(session, repair_id)

    def decide(self, repair_id: str, status: str, actor: str, commit: str, what: str) -> None:
        """Record what was decided on a repair, by whom, and add to its story."""
        with self.session() as session:
            row = self._repair(session, repair_id)
            row.status, row.decided_by, row.decided_at = status, actor, utcnow()
            row.commit = commit or row.commit
            row.story = [*row.story, {"at": utcnow().isoformat(), "what": what, "actor": actor}]

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

    @staticmethod
    def _repair(session: Session, repair_id: str) -> Repair:
        row = session.get(Repair, repair_id)
        if row is None:
            raise UnknownRepairError(
                f"No repair has the id {repair_id}; `homeostat fix list` shows the ids."
            )
        return row


def patch_digest(changes: dict[str, str | None]) -> str:
    """Return the identity of a patch."""
    text = json.dumps(changes, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

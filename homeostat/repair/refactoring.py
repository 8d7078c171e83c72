"""One round of the refactor system: apply what a person approved, then propose what was learnt.

What is applied is proven anew in the sandbox first, and again once it is committed; where that
fails the commit is taken back and the pattern's failure is remembered.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.repair import apply, refactor
from homeostat.repair.refactor import ACTION, Pattern, Proposal
from homeostat.repair.sandbox import Sandbox
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from homeostat.repair.tree import Tree
from homeostat.store import audit
from homeostat.store.approvals import Approval, ApprovalState
from homeostat.store.database import transaction

#: Spends an approval by policy; False where it may not be spent.
Spend = Callable[[Session, Approval], bool]


@dataclass
class Round:
    """What one round did; `said` is how many patterns there are, in words."""

    said: str
    applied: list[str] = field(default_factory=list)
    reverted: list[str] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)


def play(repository: Path, command: Sequence[str], spend: Spend) -> Round:
    """Play one round on a repository whose proof is `command`; opens transactions of its own."""
    with transaction() as session:
        survey = refactor.survey(session)
        patterns = refactor.patterns(session)
        done = Round(str(survey["said"]))
    for pattern in patterns:
        with transaction() as session:
            asked = _newest(session, pattern)
            state = asked.state if asked else ""
        if state == ApprovalState.PENDING:
            continue
        if asked is None:
            with _copied(repository) as (tree, sandbox):
                proposal = refactor.prove(pattern, tree, sandbox, command)
            with transaction() as session:
                if refactor.publish(session, proposal) is not None:
                    done.proposed.append(pattern.was)
        elif state == ApprovalState.APPROVED:
            _apply(repository, pattern, command, spend, done)
    with transaction() as session:
        audit.append(
            session, actor=refactor.ACTOR, action="refactor.round", resource=str(repository)[-255:],
            payload={"applied": list(done.applied), "reverted": list(done.reverted),
                     "proposed": list(done.proposed)},
            result=done.said,
        )  # fmt: skip
    return done


def _newest(session: Session, pattern: Pattern) -> Approval | None:
    statement = select(Approval).where(Approval.action == ACTION, Approval.subject == pattern.key)
    return session.scalar(statement.order_by(Approval.created_at.desc()).limit(1))


@contextmanager
def _copied(repository: Path) -> Iterator[tuple[Tree, Sandbox]]:
    """A copy of the repository's files as they are now, and a sandbox that runs on it."""
    with tempfile.TemporaryDirectory(prefix="homeostat-refactor-") as folder:
        tree = Tree.copy(repository, Path(folder) / "tree")
        yield tree, Sandbox(repository, tree.root, inspect_interpreter(Path(sys.executable)))


def _apply(
    repository: Path, pattern: Pattern, command: Sequence[str], spend: Spend, done: Round
) -> None:
    with _copied(repository) as (tree, sandbox):
        proposal = refactor.prove(pattern, tree, sandbox, command)
        if not _allowed(proposal, spend):
            return
        title = pattern.was.splitlines()[0][:40]
        message = f"Replace {title}\n\nLearnt from {len(pattern.fixes)} proven fixes.\n"
        commit = apply.apply_changes(repository, tree, proposal.changes, message)
    with _copied(repository) as (_, sandbox):
        held = sandbox.run(command).passed
    if not held:
        apply.revert_commit(repository, commit, "it failed once it was applied")
    with transaction() as session:
        refactor.learn(session, pattern, held=held)
    (done.applied if held else done.reverted).append(pattern.was)


def _allowed(proposal: Proposal, spend: Spend) -> bool:
    """Spend the approval of what still holds, and is what the person looked at."""
    with transaction() as session:
        if not proposal.verified:
            refactor.learn(session, proposal.pattern, held=False)
            return False
        asked = _newest(session, proposal.pattern)
        return asked is not None and asked.plan == proposal.diff and spend(session, asked)

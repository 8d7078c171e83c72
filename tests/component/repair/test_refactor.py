"""Patterns learnt from fixes, proven in a real sandbox on a small tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.repair import refactor, refactoring
from homeostat.repair.refactor import Pattern
from homeostat.repair.sandbox import Sandbox
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from homeostat.repair.tree import Tree
from homeostat.store import approvals
from homeostat.store.approvals import Approval
from homeostat.store.database import transaction
from homeostat.store.repair import KnownFix
from homeostat.store.track_records import TrackRecord

pytestmark = pytest.mark.usefixtures("sqlite_store")

WAS, BECOMES = "value = source.old_name()", "value = source.new_name()"
SOURCE = "class Source:\n    def new_name(self):\n        return 1\n"
CALLER = (
    f"from source import Source\nsource = Source()\n\n\ndef f():\n    {WAS}\n    return value\n"
)
GOOD = ["-c", "import compileall, sys; sys.exit(not compileall.compile_dir('.', quiet=1))"]


def planted(session: Session, number: int, *, replay: str = "", failures: int = 0) -> None:
    fix = KnownFix(replay_key=replay or f"r{number}", group_key="g", patch=str(number))
    fix.strategy, fix.defect, fix.side, fix.title = "renamed", "attribute", "caller", "t"
    fix.parameters, fix.changes, fix.preimages, fix.proof = {}, {}, {}, {}
    fix.diff = (
        f"--- a/m{number}.py\n+++ b/m{number}.py\n@@ -1,2 +1,2 @@\n x\n-    {WAS}\n+    {BECOMES}\n"
    )
    fix.successes, fix.failures = 1, failures
    session.add(fix)
    session.flush()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "source.py").write_text(SOURCE)
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(CALLER)
    (folder / "other.py").write_text(f"# {WAS}\n")
    return Tree(folder)


def sandbox_of(tree: Tree) -> Sandbox:
    return Sandbox(tree.root, tree.root, inspect_interpreter(Path(sys.executable)))


def learnt() -> Pattern:
    return Pattern(WAS, BECOMES, ("a", "b", "c"))


def test_it_starts_with_no_pattern_and_says_so() -> None:
    with transaction() as session:
        assert refactor.survey(session)["said"] == "0 patterns: nothing was mended alike 3 times"


@pytest.mark.usefixtures("store")
def test_three_proven_fixes_of_different_failures_make_a_pattern_and_two_do_not() -> None:
    with transaction() as session:
        planted(session, 1)
        planted(session, 2)
        planted(session, 3, replay="r2")
        assert refactor.patterns(session) == []
        planted(session, 4)
        (pattern,) = refactor.patterns(session)
        assert (pattern.was, pattern.becomes, len(pattern.fixes)) == (WAS, BECOMES, 3)


def test_a_fix_that_failed_since_proves_nothing() -> None:
    with transaction() as session:
        for number in range(3):
            planted(session, number, failures=number == 2)
        assert refactor.patterns(session) == []


def test_it_is_planned_wherever_the_line_stands_and_nowhere_else(tree: Tree) -> None:
    changes = refactor.plan(learnt(), tree)
    assert sorted(changes) == ["one.py", "two.py"]
    assert changes["one.py"] == CALLER.replace(WAS, BECOMES)


def test_a_verified_proposal_waits_for_a_person_and_the_tree_is_untouched(tree: Tree) -> None:
    sandbox = sandbox_of(tree)
    proposal = refactor.prove(learnt(), tree, sandbox, [str(sandbox.interpreter.executable), *GOOD])
    assert proposal.verified, proposal.reason
    assert (tree.root / "one.py").read_text() == CALLER
    with transaction() as session:
        approval = refactor.publish(session, proposal)
        assert approval is not None
        assert BECOMES in approval.plan
        assert [one.id for one in approvals.waiting(session)] == [approval.id]


def test_what_breaks_the_tree_is_not_published_and_not_tried_again(tree: Tree) -> None:
    with transaction() as session:
        for number in range(3):
            planted(session, number)
    sandbox = sandbox_of(tree)
    check = "import one; one.Source.old_name = lambda self: 2; assert one.f() == 2"
    proposal = refactor.prove(
        learnt(), tree, sandbox, [str(sandbox.interpreter.executable), "-c", check]
    )
    assert not proposal.verified
    assert "it fails after" in proposal.reason
    assert (tree.root / "one.py").read_text() == CALLER
    with transaction() as session:
        assert len(refactor.patterns(session)) == 1
        assert refactor.publish(session, proposal) is None
        assert approvals.waiting(session) == []
        assert refactor.patterns(session) == []


def test_a_missing_tool_is_a_failure(tree: Tree) -> None:
    proposal = refactor.prove(learnt(), tree, sandbox_of(tree), ["no-such-tool-anywhere"])
    assert not proposal.verified


def test_a_pattern_that_stands_nowhere_proposes_nothing(tree: Tree) -> None:
    pattern = Pattern("never_written_here()", "x()", ("a", "b", "c"))
    proposal = refactor.prove(pattern, tree, sandbox_of(tree), ["true"])
    assert (proposal.verified, proposal.changes) == (False, {})


# A round: proposed once, applied once a person approved, taken back where it does not hold.


@pytest.fixture
def repository(tree: Tree) -> Path:
    for words in (
        ("init", "-q"),
        ("config", "user.name", "t"),
        ("config", "user.email", "t@localhost"),
        ("add", "-A"),
        ("commit", "-q", "-m", "Begin"),
    ):
        subprocess.run(["git", *words], cwd=tree.root, check=True)
    return tree.root


def proof(code: str = GOOD[1]) -> list[str]:
    return [sys.executable, "-c", code]


def spend(session: Session, approval: Approval) -> bool:
    governance: Any = registry.find("kernels.governance")
    decision = governance.use(
        session, approval.id, action=approval.action, subject=approval.subject, actor="t"
    )
    return bool(decision.allowed)


def decide(*, approve: bool) -> None:
    with transaction() as session:
        (waiting,) = approvals.waiting(session)
        approvals.decide(session, waiting.id, approve=approve, by="ada")


def learnt_from_three() -> None:
    with transaction() as session:
        for number in range(3):
            planted(session, number)


def test_a_round_without_patterns_says_so(repository: Path) -> None:
    done = refactoring.play(repository, proof(), spend)
    assert done.said.startswith("0 patterns")
    assert (done.proposed, done.applied) == ([], [])


def test_an_approved_pattern_is_applied_once_and_learnt_from(repository: Path) -> None:
    learnt_from_three()
    assert refactoring.play(repository, proof(), spend).proposed == [WAS]
    assert refactoring.play(repository, proof(), spend).proposed == []
    assert (repository / "one.py").read_text() == CALLER
    decide(approve=True)
    assert refactoring.play(repository, proof(), spend).applied == [WAS]
    assert (repository / "one.py").read_text() == CALLER.replace(WAS, BECOMES)
    assert refactoring.play(repository, proof(), spend).applied == []
    with transaction() as session:
        record = session.get_one(TrackRecord, (refactor.ACTION, learnt().key))
        assert (record.in_row, record.failures) == (1, 0)


def test_what_fails_once_applied_is_taken_back_and_not_tried_again(repository: Path) -> None:
    learnt_from_three()
    refactoring.play(repository, proof(), spend)
    decide(approve=True)

    def meanwhile(session: Session, approval: Approval) -> bool:
        """Somebody breaks the repository between the proof and the commit."""
        (repository / "late.py").write_text("x = (")
        return spend(session, approval)

    done = refactoring.play(repository, proof(), meanwhile)
    assert done.reverted == [WAS]
    assert (repository / "one.py").read_text() == CALLER
    with transaction() as session:
        assert refactor.patterns(session) == []


def test_what_a_person_rejects_is_left_alone(repository: Path) -> None:
    learnt_from_three()
    refactoring.play(repository, proof(), spend)
    decide(approve=False)
    assert refactoring.play(repository, proof(), spend).applied == []
    assert (repository / "one.py").read_text() == CALLER

"""Patterns learnt from fixes, proven in a real sandbox on a small tree."""

from __future__ import annotations

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
from tests.component.repair.conftest import begin

pytestmark = pytest.mark.usefixtures("sqlite_store")

WAS, BECOMES = "value = source.old_name()", "value = source.new_name()"
SOURCE = "class Source:\n    def new_name(self):\n        return 1\n"
CALLER = (
    f"from source import Source\nsource = Source()\n\n\ndef f():\n    {WAS}\n    return value\n"
)
GOOD = ["-c", "import compileall, sys; sys.exit(not compileall.compile_dir('.', quiet=1))"]

#: Two statements that became three: no single line of them is the pattern.
RUN_WAS = "handle = source.open()\nvalue = handle.read()"
RUN_BECOMES = "value = None\nwith source.open() as handle:\n    value = handle.read()"
RUN_SOURCE = (
    "class Source:\n    def open(self):\n        return self\n    def read(self):\n        return 1\n"
    "    def __enter__(self):\n        return self\n    def __exit__(self, *_):\n        pass\n"
)


def run_diff(number: int) -> str:
    """Return what a fix did, at a depth of its own."""
    depth = "    " * number
    lines = [f"-{depth}{line}" for line in RUN_WAS.splitlines()]
    lines += [f"+{depth}{line}" for line in RUN_BECOMES.splitlines()]
    return "\n".join(
        [f"--- a/m{number}.py", f"+++ b/m{number}.py", "@@ -1,3 +1,4 @@", " x", *lines]
    )


def planted(
    session: Session, number: int, *, replay: str = "", failures: int = 0, diff: str = ""
) -> None:
    fix = KnownFix(replay_key=replay or f"r{number}", group_key="g", patch=str(number))
    fix.strategy, fix.defect, fix.side, fix.title = "renamed", "attribute", "caller", "t"
    fix.parameters, fix.changes, fix.preimages, fix.proof = {}, {}, {}, {}
    fix.diff = (
        f"--- a/m{number}.py\n+++ b/m{number}.py\n@@ -1,2 +1,2 @@\n x\n-    {WAS}\n+    {BECOMES}\n"
    )
    fix.diff = diff or fix.diff
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


# A pattern of several lines.


def runs_learnt() -> None:
    with transaction() as session:
        for number in range(3):
            planted(session, number, diff=run_diff(number))


def test_a_run_of_statements_is_learnt_from_three_fixes_at_whatever_depth() -> None:
    with transaction() as session:
        for number in range(2):
            planted(session, number, diff=run_diff(number))
        assert refactor.patterns(session) == []
        planted(session, 2, diff=run_diff(2))
        (pattern,) = refactor.patterns(session)
        assert (pattern.was, pattern.becomes) == (RUN_WAS, RUN_BECOMES)


def test_what_is_no_run_of_whole_statements_is_no_pattern() -> None:
    torn = "--- a/m.py\n+++ b/m.py\n@@ @@\n-    first=1,\n-    second=2)\n+    first=2)\n x\n"
    with transaction() as session:
        for number in range(3):
            planted(session, number, diff=torn)
        assert refactor.patterns(session) == []


DEEP = """from source import Source


class Reader:
    def read(self, source):
        if source:
            # why it is read
            handle = source.open( )
            value = handle.read()
            return value
        return 0


def told(source):
    handle = source.open()
    # this comment would be lost
    value = handle.read()
    return value


def done(source):
    value = None
    with source.open() as handle:
        value = handle.read()
    return value
"""
DEEP_AFTER = DEEP.replace(
    """            handle = source.open( )
            value = handle.read()
""",
    """            value = None
            with source.open() as handle:
                value = handle.read()
""",
)


@pytest.fixture
def deep_tree(tmp_path: Path) -> Tree:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "source.py").write_text(RUN_SOURCE)
    (folder / "deep.py").write_text(DEEP)
    (folder / "broken.py").write_text(RUN_WAS + "\nx = (\n")
    return Tree(folder)


def test_a_run_is_replaced_at_its_depth_and_what_a_comment_explains_is_left(
    deep_tree: Tree,
) -> None:
    runs_learnt()
    with transaction() as session:
        (pattern,) = refactor.patterns(session)
    assert refactor.plan(pattern, deep_tree) == {"deep.py": DEEP_AFTER}


def test_what_was_replaced_is_not_replaced_again(tmp_path: Path) -> None:
    """The guard that was put before a line leaves the line where the pattern looks for it."""
    pattern = Pattern("total = add(a, b)", "if b is None:\n    b = 0\ntotal = add(a, b)", ("a",))
    (tmp_path / "one.py").write_text("def f(a, b):\n    total = add(a, b)\n    return total\n")
    changed = refactor.plan(pattern, Tree(tmp_path))
    (tmp_path / "one.py").write_text(changed["one.py"])
    assert refactor.plan(pattern, Tree(tmp_path)) == {}


@pytest.mark.parametrize("holds", [True, False])
def test_an_approved_run_is_applied_and_taken_back_where_it_does_not_hold(
    deep_tree: Tree, *, holds: bool
) -> None:
    root = begin(deep_tree.root)
    (root / "broken.py").unlink()
    runs_learnt()
    assert refactoring.play(root, proof(), spend).proposed == [RUN_WAS]
    decide(approve=True)

    def meanwhile(session: Session, approval: Approval) -> bool:
        if not holds:
            (root / "late.py").write_text("x = (")
        return spend(session, approval)

    done = refactoring.play(root, proof(), meanwhile)
    assert (done.applied, done.reverted) == (([RUN_WAS], []) if holds else ([], [RUN_WAS]))
    assert (root / "deep.py").read_text() == (DEEP_AFTER if holds else DEEP)


# A round: proposed once, applied once a person approved, taken back where it does not hold.


@pytest.fixture
def repository(tree: Tree) -> Path:
    return begin(tree.root)


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

"""The coding agent: from a failing command to a proven patch, applied or proposed, remembered."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from homeostat.clock import new_id
from homeostat.repair import signature
from homeostat.repair.apply import apply_changes, fix_message, recover, revert_commit
from homeostat.repair.case import Candidate, Case, DefectClass, Origin
from homeostat.repair.failure import Failure
from homeostat.repair.governance import Gate, Ruling, Verdict, policy_gate
from homeostat.repair.history import History
from homeostat.repair.index import Index
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.localise import symptoms_of
from homeostat.repair.outcome import Apply, Attempt, Clock, RepairOutcome, Status
from homeostat.repair.proof import Proof, Prover
from homeostat.repair.proof.prover import Depth, watch_of
from homeostat.repair.proof.runs import Runner
from homeostat.repair.proof.tools import undefined_names
from homeostat.repair.sandbox import (
    Interpreter,
    Isolation,
    Limits,
    Sandbox,
    find_interpreter,
)
from homeostat.repair.search import Search
from homeostat.repair.tree import RepositoryError, Tree
from homeostat.settings import Mode

#: From this load on, for each processor, two runs side by side take as long as one after another,
#: and a sandbox that is ready is the quicker way (1.1 to 1.9 s for 3 to 5 s, at 7 for each).
CROWDED = 2.0

__all__ = ["Apply", "Options", "RepairOutcome", "Status", "fix"]


@dataclass(frozen=True)
class Options:
    """How a repair is done."""

    apply: Apply = Apply.NEVER
    mode: Mode = Mode.ENFORCED
    knowledge: Knowledge | None = None
    incident_id: str = ""
    seen: str = ""
    """The type of the exception that the command is to show; empty: whatever it shows."""
    repair_id: str = ""
    """The id that the repair's row has already; empty: a new one."""
    depth: Depth = field(default_factory=Depth)
    limits: Limits = field(default_factory=Limits)
    gate: Gate = policy_gate
    most_candidates: int = 10
    budget_s: float = 240.0
    extra_candidates: tuple[Candidate, ...] = ()


def fix(repository: Path, command: str, options: Options | None = None) -> RepairOutcome:
    """Find, prove and, where allowed, apply a patch that makes `command` pass in `repository`.

    The command runs only in the sandbox, on a copy. Raises RepositoryError where the folder is no
    git checkout, and SandboxError where nothing can be run.
    """
    options = options or Options()
    repository = repository.resolve()
    if not (repository / ".git").exists() and not _inside_git(repository):
        raise RepositoryError(f"{repository} is no git checkout; run `git init` there and commit.")
    recover(repository)
    clock = Clock()
    with (
        _copy(repository, command, options.limits, clock) as (tree, runner),
        _beside(repository, command, tree, runner, options),
    ):
        with clock.part("reproduce"):
            run, failure = runner.replay({}, wall_s=options.depth.replay_s)
        if run.passed:
            return _unshown(Status.HEALTHY, command, "", options, clock, runner.sandbox)
        if not _is_shown(failure, options.seen):
            said = failure.headline
            return _unshown(Status.OTHERWISE, command, said, options, clock, runner.sandbox)
        case = make_case(repository, tree, failure, runner.sandbox.interpreter)
        return _Repair(case, runner, options, clock).outcome(command)


def _beside(
    repository: Path, command: str, tree: Tree, runner: Runner, options: Options
) -> AbstractContextManager[None]:
    """Start beside the reproduction what a replay will need, or the very replay of a known fix."""
    # A guess may be a model's patch, which is run in isolation only.
    isolated = runner.sandbox.isolation is Isolation.BUBBLEWRAP
    # Pytest alone has a sandbox that is ready; other commands gain by a second processor's share.
    crowded = runner.is_pytest and os.getloadavg()[0] >= CROWDED * (os.cpu_count() or 1)
    knowledge = options.knowledge if isolated and not crowded else None
    known = knowledge.expected(repository, command, tree) if knowledge else None
    if known is None:
        return runner.prepared()
    watch = watch_of(tree, repository, known)
    return runner.ahead(known.changes, wall_s=options.depth.replay_s, watch=watch)


@contextmanager
def _copy(
    repository: Path, command: str, limits: Limits, clock: Clock
) -> Iterator[tuple[Tree, Runner]]:
    """Copy the repository, and give the copy with what runs the command on it."""
    with tempfile.TemporaryDirectory(prefix="homeostat-fix-") as folder:
        with clock.part("copy"):
            # Around it stands a folder that only this user may enter.
            tree = Tree.copy(repository, Path(folder) / "tree")
        sandbox = Sandbox(repository, tree.root, find_interpreter(command, repository), limits)
        yield tree, Runner(sandbox, command, _inherited(repository))


def replay(repository: Path, command: str, depth: Depth | None = None) -> str:
    """Run the command on the repository as it stands; return how it fails, empty where it passes.

    Raises SandboxError where nothing can be run.
    """
    depth = depth or Depth()
    with _copy(repository.resolve(), command, Limits(), Clock()) as (_, runner):
        run, failure = runner.replay({}, wall_s=depth.replay_s)
        return "" if run.passed else run.stopped or failure.headline


def tests_behind(
    repository: Path,
    command: str,
    before: Mapping[str, str | None],
    changes: Mapping[str, str | None],
) -> Proof:
    """Compare the tests without and with a patch that is in: the proof behind an instant replay.

    `before` holds the changed files' texts without the patch.
    """
    repository = repository.resolve()
    with (
        _copy(repository, command, Limits(), Clock()) as (tree, runner),
        tempfile.TemporaryDirectory(prefix="homeostat-behind-") as folder,
    ):
        old = tree.patched(before, Path(folder) / "tree")
        interpreter = runner.sandbox.interpreter
        sandbox = Sandbox(repository, old.root, interpreter, Limits())
        case = make_case(repository, old, Failure((), "", 1), interpreter)
        prover = Prover(case, Runner(sandbox, command, runner.inherited), Depth())
        try:
            return prover.behind(_as_candidate(changes))
        finally:
            prover.close()


def _as_candidate(changes: Mapping[str, str | None]) -> Candidate:
    return Candidate("replay", DefectClass.UNKNOWN, "a replay", changes, Origin.KNOWLEDGE)


def make_case(repository: Path, tree: Tree, failure: Failure, interpreter: Interpreter) -> Case:
    """Put together what the strategies may look at."""

    def undefined(path: str) -> tuple[tuple[str, int], ...]:
        text = tree.read(path)
        return undefined_names(path, text) if text is not None else ()

    return Case(
        repository,
        tree,
        Index(tree),
        History(repository, tree),
        failure,
        symptoms_of(failure),
        interpreter,
        undefined,
    )


def _inside_git(repository: Path) -> bool:
    return any((parent / ".git").exists() for parent in repository.parents)


def _inherited(repository: Path) -> dict[str, str]:
    """Return the few variables that a target may need from outside: paths inside it."""
    paths = [
        str(repository / part) if not Path(part).is_absolute() else part
        for part in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if part
    ]
    inside = [part for part in paths if Path(part).resolve().is_relative_to(repository)]
    return {"PYTHONPATH": os.pathsep.join(inside)} if inside else {}


def _is_shown(failure: Failure, seen: str) -> bool:
    """Whether one of the run's exceptions is of the type that was seen."""
    wanted = seen.rpartition(".")[2]
    return not wanted or any(fault.type.rpartition(".")[2] == wanted for fault in failure.faults)


def _unshown(
    status: Status, command: str, failure: str, options: Options, clock: Clock, sandbox: Sandbox
) -> RepairOutcome:
    return RepairOutcome(
        options.repair_id or new_id(), status, command, failure, "", "", "", None, (), None, "",
        clock.seconds, clock.parts, sandbox.protections,
    )  # fmt: skip


class _Repair:
    """One repair under way."""

    def __init__(self, case: Case, runner: Runner, options: Options, clock: Clock) -> None:
        self._case, self._runner = case, runner
        self._options, self._clock = options, clock
        self._prover = Prover(case, runner, options.depth)
        self._keys = signature.keys_of(case.failure, case.tree)
        self._id = options.repair_id or new_id()
        self._search = Search(
            case, self._prover, self._keys, clock, knowledge=options.knowledge,
            extra=options.extra_candidates, most=options.most_candidates,
            budget_s=options.budget_s,
        )  # fmt: skip

    def outcome(self, command: str) -> RepairOutcome:
        """Try the candidates, decide, apply and remember."""
        try:
            return self._outcome(command)
        finally:
            self._prover.close()

    def _outcome(self, command: str) -> RepairOutcome:
        chosen = self._search.attempt()
        verdict, commit, status = None, "", Status.NONE_FOUND
        if self._search.refused:
            status = Status.REFUSED
        if chosen is not None:
            verdict = self._options.gate(chosen.candidate, self._options.mode, self._known(chosen))
            status = self._status(verdict)
            if status is Status.APPLIED:
                with self._clock.part("apply"):
                    commit = self._apply(chosen)
        outcome = RepairOutcome(
            self._id, status, command, self._case.failure.headline, self._keys.label,
            self._keys.group_key, self._keys.replay_key, chosen, tuple(self._search.refused),
            verdict, commit, self._clock.seconds, self._clock.parts,
            self._runner.sandbox.protections,
            chosen is not None and chosen.candidate.origin is Origin.KNOWLEDGE,
        )  # fmt: skip
        if chosen is not None and outcome.from_knowledge and status is Status.APPLIED:
            outcome = self._tests_behind(outcome, chosen)
        if self._options.knowledge is not None:
            self._options.knowledge.record(outcome, self._case, self._options.incident_id)
        return outcome

    def _apply(self, chosen: Attempt) -> str:
        message = fix_message(
            self._id,
            chosen.candidate.title,
            self._case.failure.headline,
            incident_id=self._options.incident_id,
            proof=[(step.name, step.detail) for step in chosen.proof.steps],
        )
        case = self._case
        return apply_changes(case.repository, case.tree, chosen.candidate.changes, message)

    def _tests_behind(self, outcome: RepairOutcome, chosen: Attempt) -> RepairOutcome:
        """Run the tests after an instant replay; a new failure takes the patch back."""
        with self._clock.part("behind"):
            behind = self._prover.behind(chosen.candidate)
        outcome = replace(outcome, behind=behind)
        if behind.steps and not behind.holds:
            back = revert_commit(self._case.repository, outcome.commit, behind.refusal)
            outcome = replace(outcome, status=Status.REVERTED, commit=back)
        return outcome

    def _known(self, chosen: Attempt) -> int:
        """Return how often this very fix has been proven before."""
        knowledge = self._options.knowledge
        if knowledge is None or chosen.candidate.origin is not Origin.KNOWLEDGE:
            return 0
        return knowledge.successes(self._keys.replay_key)

    def _status(self, verdict: Verdict) -> Status:
        if self._options.apply is Apply.APPROVED:
            return Status.APPLIED
        if verdict.ruling is Ruling.WAIT:
            return Status.WAITING
        return Status.APPLIED if self._options.apply is Apply.POLICY else Status.PROPOSED

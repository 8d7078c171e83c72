"""The coding agent: from a failing command to a proven patch, applied or proposed, remembered."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from homeostat.clock import new_id
from homeostat.repair import signature, strategies
from homeostat.repair.apply import apply_changes, recover, revert_commit
from homeostat.repair.case import Candidate, Case, Origin
from homeostat.repair.failure import Failure
from homeostat.repair.governance import Gate, Ruling, Verdict, policy_gate
from homeostat.repair.history import History
from homeostat.repair.index import Index
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.localise import symptoms_of
from homeostat.repair.proof import Proof, Prover
from homeostat.repair.proof.prover import Depth
from homeostat.repair.proof.runs import Runner
from homeostat.repair.proof.tools import undefined_names
from homeostat.repair.proof.units import unified
from homeostat.repair.sandbox import Interpreter, Limits, Sandbox, find_interpreter
from homeostat.repair.tree import RepositoryError, Tree
from homeostat.settings import Mode


class Apply(StrEnum):
    """What to do with a proven patch: nothing, what governance allows, or apply in any case."""

    NEVER = "never"
    POLICY = "policy"
    APPROVED = "approved"


class Status(StrEnum):
    """How a repair ended."""

    HEALTHY = "healthy"
    """The command did not fail, so there was nothing to mend."""
    APPLIED = "applied"
    PROPOSED = "proposed"
    """Proven, and allowed by the evidence; nobody asked for it to be applied."""
    WAITING = "waiting"
    """Proven, and waiting for a person's approval."""
    REVERTED = "reverted"
    """Replayed from knowledge, and taken back because tests behind it failed."""
    REFUSED = "refused"
    """There were candidates and none was proven."""
    NONE_FOUND = "none_found"


@dataclass(frozen=True)
class Options:
    """How a repair is done."""

    apply: Apply = Apply.NEVER
    mode: Mode = Mode.ENFORCED
    knowledge: Knowledge | None = None
    incident_id: str = ""
    depth: Depth = field(default_factory=Depth)
    limits: Limits = field(default_factory=Limits)
    gate: Gate = policy_gate
    most_candidates: int = 10
    budget_s: float = 240.0
    extra_candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One candidate and what its proof said."""

    candidate: Candidate
    proof: Proof
    diff: str

    def as_json(self) -> dict[str, JsonValue]:
        """Return the attempt for storage and output."""
        candidate = self.candidate
        return {
            "strategy": candidate.strategy,
            "class": candidate.defect.value,
            "title": candidate.title,
            "origin": candidate.origin.value,
            "side": candidate.side.value,
            "rule": candidate.rule,
            "waits_because": candidate.waits_because,
            "parameters": dict(candidate.parameters),
            "files": list(sorted(candidate.changes)),  # noqa: C413 - JSON wants a list of its own type
            "diff": self.diff,
            "proof": self.proof.as_json(),
        }


@dataclass(frozen=True)
class RepairOutcome:
    """The whole story of one repair."""

    id: str
    status: Status
    command: str
    failure: str
    signature: str
    group_key: str
    replay_key: str
    chosen: Attempt | None
    refused: tuple[Attempt, ...]
    verdict: Verdict | None
    commit: str
    seconds: float
    timings: dict[str, float]
    protections: tuple[str, ...]
    from_knowledge: bool = False
    behind: Proof | None = None

    @property
    def proven(self) -> bool:
        """Whether a patch holds its proof."""
        return self.chosen is not None

    def as_json(self) -> dict[str, JsonValue]:
        """Return the outcome for storage and output."""
        return {
            "id": self.id,
            "status": self.status.value,
            "command": self.command,
            "failure": self.failure,
            "signature": self.signature,
            "group_key": self.group_key,
            "replay_key": self.replay_key,
            "from_knowledge": self.from_knowledge,
            "fix": self.chosen.as_json() if self.chosen else None,
            "verdict": (
                {"decision": self.verdict.ruling.value, "reason": self.verdict.reason}
                if self.verdict
                else None
            ),
            "refused": [attempt.as_json() for attempt in self.refused],
            "tests_behind": self.behind.as_json() if self.behind and self.behind.steps else None,
            "commit": self.commit,
            "seconds": round(self.seconds, 3),
            "timings": {name: round(value, 3) for name, value in self.timings.items()},
            "protections": list(self.protections),
        }


class _Clock:
    """Adds up how long each part of a repair took."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.parts: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - start

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start


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
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="homeostat-fix-") as folder:
        with clock.part("copy"):
            tree = Tree.copy(repository, Path(folder) / "tree")
        Path(folder).chmod(0o755)
        interpreter = find_interpreter(command, repository)
        sandbox = Sandbox(repository, tree.root, interpreter, options.limits)
        runner = Runner(sandbox, command, _inherited(repository))
        with clock.part("reproduce"):
            run, failure = runner.replay({}, wall_s=options.depth.replay_s)
        if run.passed:
            return _healthy(command, clock, sandbox)
        case = make_case(repository, tree, failure, interpreter)
        return _Repair(case, runner, options, clock).outcome(command)


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


def _healthy(command: str, clock: _Clock, sandbox: Sandbox) -> RepairOutcome:
    return RepairOutcome(
        new_id(), Status.HEALTHY, command, "", "", "", "", None, (), None, "", clock.seconds,
        clock.parts, sandbox.protections,
    )  # fmt: skip


class _Repair:
    """One repair under way."""

    def __init__(self, case: Case, runner: Runner, options: Options, clock: _Clock) -> None:
        self._case, self._runner = case, runner
        self._options, self._clock = options, clock
        self._prover = Prover(case, runner, options.depth)
        self._keys = signature.keys_of(case.failure, case.tree)
        self._refused: list[Attempt] = []

    def outcome(self, command: str) -> RepairOutcome:
        """Try the candidates, decide, apply and remember."""
        try:
            return self._outcome(command)
        finally:
            self._prover.close()

    def _outcome(self, command: str) -> RepairOutcome:
        chosen = self._search()
        verdict, commit, status = None, "", Status.NONE_FOUND
        if self._refused:
            status = Status.REFUSED
        if chosen is not None:
            verdict = self._options.gate(chosen.candidate, self._options.mode, self._known(chosen))
            status = self._status(verdict)
            if status is Status.APPLIED:
                with self._clock.part("apply"):
                    commit = apply_changes(
                        self._case.repository,
                        self._case.tree,
                        chosen.candidate.changes,
                        _message(self._case, chosen, self._options.incident_id),
                    )
        outcome = RepairOutcome(
            new_id(), status, command, self._case.failure.headline, self._keys.label,
            self._keys.group_key, self._keys.replay_key, chosen, tuple(self._refused), verdict,
            commit, self._clock.seconds, self._clock.parts, self._runner.sandbox.protections,
            chosen is not None and chosen.candidate.origin is Origin.KNOWLEDGE,
        )  # fmt: skip
        if chosen is not None and outcome.from_knowledge and status is Status.APPLIED:
            outcome = self._tests_behind(outcome, chosen)
        if self._options.knowledge is not None:
            self._options.knowledge.record(outcome, self._case)
        return outcome

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

    def _search(self) -> Attempt | None:
        knowledge = self._options.knowledge
        if knowledge is not None:
            with self._clock.part("knowledge"):
                known = knowledge.candidate(self._keys.replay_key, self._case)
            if known is not None:
                attempt = self._try(known)
                if attempt is not None:
                    return attempt
        with self._clock.part("candidates"):
            found = [*self._options.extra_candidates, *strategies.candidates(self._case)]
        for candidate in found[: self._options.most_candidates]:
            if self._clock.seconds > self._options.budget_s:
                break
            attempt = self._try(candidate)
            if attempt is not None:
                return attempt
        for candidate in strategies.last_resort(self._case):
            attempt = self._try(candidate)
            if attempt is not None:
                return attempt
        return None

    def _try(self, candidate: Candidate) -> Attempt | None:
        with self._clock.part("proof"):
            proof = self._prover.prove(candidate)
        attempt = Attempt(candidate, proof, unified(self._case.tree, candidate.changes))
        if proof.holds:
            return attempt
        self._refused.append(attempt)
        return None


def _message(case: Case, attempt: Attempt, incident_id: str) -> str:
    steps = "\n".join(f"  {step.name}: {step.detail}" for step in attempt.proof.steps)
    incident = f"Incident: {incident_id}\n" if incident_id else ""
    title = attempt.candidate.title.rstrip(".")
    return (
        f"{title[:72]}\n\n{attempt.candidate.title}\n\nFailure: {case.failure.headline}\n{incident}"
        f"Proof:\n{steps}\n"
    )


__all__ = ["Apply", "Options", "RepairOutcome", "Status", "fix"]

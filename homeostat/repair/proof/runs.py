"""Running the failing command and tests on a patched copy, and comparing what came out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure, failure_of
from homeostat.repair.proof.pytest_options import added, alone, set_up_of
from homeostat.repair.sandbox import Ready, Run, Sandbox
from homeostat.repair.sandbox.runner import shell_words

Changes = Mapping[str, str | None]


@dataclass(frozen=True)
class Runner:
    """Runs a target's command and its tests in the sandbox."""

    sandbox: Sandbox
    command: str
    inherited: Mapping[str, str]
    _waiting: list[Ready] = field(default_factory=list, repr=False, compare=False)
    _begun: dict[str, Future[tuple[Run, Failure]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Have a sandbox wait for the first replay of pytest, while its patch is looked for."""
        own = {**self.inherited, **self.words[1]}
        if self.is_pytest and (ready := self.sandbox.ready(own)) is not None:
            self._waiting.append(ready)
        try:
            yield
        finally:
            while self._waiting:
                self._waiting.pop().close()

    @cached_property
    def words(self) -> tuple[list[str], dict[str, str]]:
        """The command's words and its own variables."""
        return shell_words(self.command, self.sandbox.interpreter)

    @property
    def is_pytest(self) -> bool:
        """Whether the command runs pytest."""
        words = re.split(r"[\s'\"();&|]+", self.command)
        return any(Path(word).name in {"pytest", "py.test"} for word in words)

    def _env(self, *, outcome_only: bool) -> dict[str, str]:
        """Return the variables of a run."""
        env = {**self.inherited, **self.words[1]}
        given, own = env.get("PYTEST_ADDOPTS", ""), self.sandbox.interpreter
        return {**env, "PYTEST_ADDOPTS": added(own, given, outcome_only=outcome_only)}

    @property
    def _options(self) -> list[str]:
        """What follows pytest in the command."""
        words, _ = self.words
        return words[words.index("pytest") + 1 :] if "pytest" in words else []

    @contextmanager
    def ahead(self, changes: Changes, *, wall_s: float, watch: Mapping[str, Any]) -> Iterator[None]:
        """Begin a replay that will probably be asked for, beside what is done meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(self._replayed, changes, wall_s, watch, ())
            self._begun[_key(changes, watch)] = begun
            yield

    def replay(
        self,
        changes: Changes,
        *,
        wall_s: float,
        watch: Mapping[str, Any] | None = None,
        readable: Sequence[Path] = (),
    ) -> tuple[Run, Failure]:
        """Run the failing command; `watch` names lines and parameters to follow."""
        if watch and not readable and (begun := self._begun.pop(_key(changes, watch), None)):
            return begun.result()
        return self._replayed(changes, wall_s, watch, readable)

    def _replayed(
        self,
        changes: Changes,
        wall_s: float,
        watch: Mapping[str, Any] | None,
        readable: Sequence[Path],
    ) -> tuple[Run, Failure]:
        words, env = [*self.words[0]], self._env(outcome_only=bool(watch))
        words += alone(self.sandbox.interpreter) if "pytest" in words else []
        if watch:
            env["HOMEOSTAT_WATCH"] = json.dumps(watch)
        if readable:
            before = env.get("PYTHONPATH", "")
            env["PYTHONPATH"] = ":".join([*map(str, readable), *([before] if before else [])])
        if self._waiting and watch and not readable:
            ready = self._waiting.pop()
            run = self.sandbox.run_ready(ready, words, changes, env, wall_s)
        else:
            run = self.sandbox.run(
                words, changes=changes, env=env, wall_s=wall_s, readable=readable
            )
        return run, failure_of(run, self.sandbox.repository)

    def tests(
        self,
        changes: Changes,
        paths: Sequence[str],
        *,
        wall_s: float,
        readable: Sequence[Path] = (),
        collect_only: bool = False,
        first: Sequence[str] = (),
        stop_early: bool = False,
    ) -> Failure:
        """Run pytest on some files, or on all where none are given.

        The tests of the files `first` go before the others; with `stop_early` the others are left
        out where one of those fails. With `collect_only` nothing is run.
        """
        words = [str(self.sandbox.interpreter.executable), "-m", "pytest", "-q", "--tb=no"]
        words += ["--continue-on-collection-errors", *set_up_of(self._options), *paths]
        words += ["--collect-only"] if collect_only else []
        env = self._env(outcome_only=True)
        if first:
            env["HOMEOSTAT_FIRST"] = json.dumps({"files": list(first), "stop": stop_early})
        if readable:
            env["PYTHONPATH"] = ":".join(map(str, readable))
        run = self.sandbox.run(words, changes=changes, env=env, wall_s=wall_s, readable=readable)
        return failure_of(run, self.sandbox.repository)


def _key(changes: Changes, watch: Mapping[str, Any]) -> str:
    return json.dumps([dict(changes), watch], sort_keys=True)


def new_failures(before: Failure, after: Failure) -> list[str]:
    """Return the tests that passed before and fail after.

    Some ids change from run to run (parameters taken from a set): a failed test whose id is new
    counts where more cases of its function fail than before.
    """
    known = set(before.passed) | set(before.failed)
    failed_before = Counter(_function(node) for node in before.failed)
    failed_after = Counter(_function(node) for node in after.failed)
    passed_before = {_function(node) for node in before.passed}
    more = {name for name in failed_after if failed_after[name] > failed_before[name]}
    strangers = {node for node in after.failed if node not in known}
    found = set(before.passed) & set(after.failed)
    found |= {node for node in strangers if _function(node) in more & passed_before}
    return sorted(found)


def lost_tests(before: Failure, after: Failure) -> list[str]:
    """Return the tests that were collected before and are not any more.

    Counted by function, because the ids of its cases may change from run to run. Examples in the
    docstrings of sources do not count: they are named after what is mended.
    """
    present = Counter(_function(node) for node in after.collected)
    former = Counter(_function(node) for node in before.collected)
    fewer = {name for name, count in former.items() if present[name] < count}
    lost = {node for node in before.collected if _function(node) in fewer} - set(after.collected)
    return sorted(node for node in lost if is_test(node.split("::")[0]))


def _function(node: str) -> str:
    """Return a test's id without its case."""
    return node.partition("[")[0]


def same_failure(one: Failure, other: Failure) -> bool:
    """Whether two failed runs failed alike: same innermost exception type and message."""
    if not one.faults or not other.faults:
        return one.returncode == other.returncode and bool(one.faults) == bool(other.faults)
    return (one.faults[0].type, one.faults[0].message) == (
        other.faults[0].type,
        other.faults[0].message,
    )

"""Which files a patch may touch, and how many lines of them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from homeostat.repair.case import Candidate, DefectClass, Side
from homeostat.repair.evidence import is_test
from homeostat.repair.line_difference import opcodes
from homeostat.repair.proof.difference import Texts
from homeostat.repair.proof.known import Known

MOST_FILES = 6
MOST_LINES = 400

_LOCKS = re.compile(
    r"(^|/)(requirements[\w.-]*\.lock|[\w.-]*\.lock|Pipfile\.lock|package-lock\.json|"
    r"constraints[\w.-]*\.txt|pylock[\w.-]*\.toml)$"
)
_CI = re.compile(
    r"(^|/)(\.github|\.gitlab|\.circleci|\.ci|\.buildkite)/|(^|/)(\.gitlab-ci\.yml|\.travis\.yml|"
    r"azure-pipelines\.yml|Jenkinsfile|Makefile|noxfile\.py|tox\.ini|pytest\.ini|"
    r"\.pre-commit-config\.yaml)$"
)
_DECLARATIONS = re.compile(
    r"(^|/)(pyproject\.toml|setup\.cfg|requirements[\w./-]*\.txt)$|^setup\.py$"
)
#: What an interpreter imports by itself, and who runs the tests: a file may take their place.
_BY_ITSELF = frozenset({"sitecustomize", "usercustomize"})
_RUNNERS = frozenset({"pytest", "_pytest", "pluggy"})
_CONFIGURATION = (".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf")


def outside(candidate: Candidate, texts: Texts) -> str:
    """Refuse what does not lie among the repository's own files."""
    del candidate
    for path in texts:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or ".git" in pure.parts or not pure.name:
            return f"it touches {path}, which lies outside the repository's own files"
    return ""


def guarded_files(candidate: Candidate, texts: Texts) -> str:
    """Refuse tests, locks, what runs the tests, and what is no source."""
    for path in texts:
        if is_test(path):
            return f"it edits the test {path}"
        if _LOCKS.search(path):
            return f"it edits the lock file {path}"
        if _CI.search(path):
            return f"it edits {path}, which decides how tests are run"
        if _DECLARATIONS.search(path) and candidate.side is not Side.DEPENDENCY:
            return f"it edits {path}, which declares dependencies and test settings"
        if candidate.defect is DefectClass.CONFIGURATION_DRIFT and path.endswith(_CONFIGURATION):
            continue
        if not path.endswith(".py") and candidate.side is not Side.DEPENDENCY:
            return f"it edits {path}, which is no Python source"
    return ""


def size(candidate: Candidate, texts: Texts) -> str:
    """Refuse what is too large to be a repair."""
    del candidate
    if len(texts) > MOST_FILES:
        return f"it touches {len(texts)} files, more than {MOST_FILES}"
    added = Counter(line for before, after in texts.values() for line in _added(before, after))
    taken = Counter(line for before, after in texts.values() for line in _added(after, before))
    # What is taken here and added there has been moved, and a move is no large change.
    changed = (added - taken).total() + (taken - added).total()
    if changed > MOST_LINES:
        return f"it changes {changed} lines, more than {MOST_LINES}"
    return ""


def _added(before: str | None, after: str | None) -> Iterator[str]:
    old, new = (before or "").splitlines(), (after or "").splitlines()
    for tag, _, _, start, end in opcodes(old, new):
        if tag in {"insert", "replace"}:
            yield from new[start:end]


def known_tests(candidate: Candidate, texts: Texts, known: Known) -> str:
    """Refuse files that pytest found tests in, by whatever name, and what stands in for others."""
    del candidate
    for path, (before, after) in texts.items():
        if path in known.tests:
            return f"it edits the test {path}"
        first, *rest = [part for part in PurePosixPath(path).parts if part not in {"src", "lib"}]
        top = first if rest else PurePosixPath(first).stem
        if top in _BY_ITSELF:
            return f"it edits {path}, which Python runs by itself"
        new = before is None and after is not None
        if new and top in _RUNNERS | sys.stdlib_module_names:
            return f"it puts {path} in the place of the module {top}"
    return ""

"""The static tools of a proof: ruff and ty. A missing tool is a failure, not a pass."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from homeostat.errors import HomeostatError
from homeostat.repair.sandbox import Interpreter

#: Undefined names and syntax (F, E9), and arguments that nothing reads (ARG).
LINT_RULES = "F,E9,ARG"


class ToolMissingError(HomeostatError):
    """A tool of the proof is missing."""


@lru_cache(maxsize=8)
def tool(name: str) -> str:
    """Return the path of a tool that came with Homeostat; raises ToolMissingError."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside + os.pathsep + os.environ.get("PATH", ""))
    if found is None:
        raise ToolMissingError(f"The proof needs {name}, which is not installed.")
    return found


def lint(path: str, text: str, rules: str = LINT_RULES) -> list[tuple[str, str, int]]:
    """Return ruff's findings as (code, message, line); raises ToolMissingError."""
    done = subprocess.run(
        [tool("ruff"), "check", "--isolated", "--no-cache", "--select", rules,
         "--output-format", "json", "--stdin-filename", path, "-"],
        check=False, input=text.encode(), capture_output=True, timeout=60,
    )  # fmt: skip
    if done.returncode not in {0, 1}:
        raise ToolMissingError(f"ruff failed: {done.stderr.decode(errors='replace')[:200]}")
    return [
        (item["code"] or "E999", item["message"], item["location"]["row"])
        for item in json.loads(done.stdout)
    ]


@lru_cache(maxsize=256)
def undefined_names(path: str, text: str) -> tuple[tuple[str, int], ...]:
    """Return (name, line) of each undefined name in a file."""
    found = []
    for _, message, line in lint(path, text, "F821"):
        matched = re.search(r"`(\w+)`", message)
        if matched:
            found.append((matched[1], line))
    return tuple(found)


_FINDING = re.compile(
    r"^(?P<path>.+?):(?P<line>\d+):\d+: (?P<text>(?:error|warning)\[(?P<rule>[\w-]+)\].*)$"
)


def type_errors(
    root: Path,
    interpreter: Interpreter,
    paths: Sequence[str],
    only_lines: Mapping[str, Collection[int]] | None = None,
) -> Counter[tuple[str, str]]:
    """Return ty's findings in some files as (path, message) counts, line numbers left out.

    `only_lines` keeps only the findings that stand at those lines of those files.
    """
    present = [path for path in paths if (root / path).is_file()]
    if not present:
        return Counter()
    done = subprocess.run(
        [tool("ty"), "check", "--output-format", "concise", "--exit-zero", "--color", "never",
         "--python", str(interpreter.prefix), "--no-progress", *present],
        check=False, cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        raise ToolMissingError(f"ty failed: {(done.stderr or done.stdout)[:200]}")
    found: Counter[tuple[str, str]] = Counter()
    for line in done.stdout.splitlines():
        matched = _FINDING.match(line)
        if matched and (
            only_lines is None or int(matched["line"]) in only_lines.get(matched["path"], ())
        ):
            found[matched["path"], matched["text"]] += 1
    return found

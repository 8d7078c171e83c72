"""What to do where a command left nothing to mend: one sentence for whoever gave it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from homeostat.repair.outcome import RepairOutcome, Status
from homeostat.repair.sandbox import find_interpreter

#: By what stands in the command and how it ended.
_UNUSABLE = (
    ("", "ended by its ", "It did not come to its end; give a command that fails by itself."),
    ("", "exit status 127 ", "Its program is not found in the sandbox; check the command."),
    (
        "pytest",
        "exit status 4 ",
        "pytest does not find what it is to run, or an option's plugin is missing; check both.",
    ),
    ("pytest", "exit status 5 ", "pytest finds no test; give a command that runs one."),
    ("", "exit status ", "It shows no Python exception to go by; give a command that raises one."),
)
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '(?P<name>\w+)")
_NOT_LOOKED_INTO = {".git", ".venv", "venv", "node_modules", "build", "dist", "__pycache__"}
#: Levels below the repository at which a package is looked for.
_DEPTH = 3


def why_nothing(repository: Path, command: str, outcome: RepairOutcome) -> str:
    """Return why a command was not mended, and what to do about it; empty where it was."""
    if outcome.status is Status.HEALTHY:
        return "The command does not fail, so there is nothing to mend."
    unusable = _unusable(repository, command, outcome.failure)
    if outcome.status is Status.NONE_FOUND:
        return unusable or f"No strategy knows a patch for this: {outcome.failure}"
    if outcome.status is Status.REFUSED:
        return unusable or (
            f"No candidate held its proof; the first fell at {outcome.refused[0].proof.refusal}"
        )
    return ""


def _unusable(repository: Path, command: str, failure: str) -> str:
    """Return what is wrong with the command itself, from its failure's headline, or nothing."""
    missing = _NO_MODULE.match(failure)
    if missing:
        return _missing(repository, command, missing["name"])
    _, _, said = failure.partition("without an exception: ")
    for word, end, why in _UNUSABLE:
        if word in command and failure.startswith(end):
            return f"{why} It said: {said}" if said else why
    return ""


def _missing(repository: Path, command: str, name: str) -> str:
    """Tell a package that is not on the path from one that is not installed."""
    folder = next((found for found in _folders(repository, _DEPTH) if _holds(found, name)), None)
    if folder == repository:
        return ""
    if folder is not None:
        shown = folder.relative_to(repository).as_posix()
        return (
            f"{name} lies in {shown}/, which the command does not look into; "
            f"set PYTHONPATH={shown} or install the repository."
        )
    interpreter = find_interpreter(command, repository)
    if name in interpreter.stdlib or interpreter.has_module(name):
        return ""
    return f"{name} is not installed for {interpreter.executable}; install what the tests require."


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for inside in sorted(folder.iterdir()):
            looked_into = inside.name not in _NOT_LOOKED_INTO and os.access(
                inside, os.R_OK | os.X_OK
            )
            if inside.is_dir() and not inside.is_symlink() and looked_into:
                yield from _folders(inside, depth - 1)


def _holds(folder: Path, name: str) -> bool:
    return (folder / name / "__init__.py").is_file() or (folder / f"{name}.py").is_file()

"""From an incident to what the coding agent can be given: a repository and a failing command."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy.orm import Session

from homeostat.repair.evidence import is_test
from homeostat.repair.tree import Tree
from homeostat.settings import settings
from homeostat.store.incidents import Incident

_IMPORTS = frozenset({"ImportError", "ModuleNotFoundError"})
_MOST_FILES = 4


class Route(StrEnum):
    """Who is to mend it."""

    CODING_AGENT = "coding_agent"
    PERSON = "person"


@dataclass(frozen=True)
class Analysis:
    """Where an incident goes, and why; `command` shows the failure in `repository`."""

    route: Route
    reason: str
    repository: Path | None = None
    command: str = ""


def analyse(session: Session, incident_id: str) -> Analysis:
    """Decide who mends an incident; it only reads. A way that is not known leads to a person.

    A failed import is shown by the import itself, any other failure by the tests that name the
    function in which it struck. The command is tried by the agent and not trusted: where it does
    not fail, nothing is mended.
    """
    incident = session.get(Incident, incident_id)
    if incident is None:
        return Analysis(Route.PERSON, f"there is no incident {incident_id}")
    repository = settings().repository
    if repository is None:
        return Analysis(Route.PERSON, "HOMEOSTAT_REPOSITORY names no checkout that may be mended")
    frames = [str(frame).split(":", 1) for frame in incident.basis.get("frames", [])]
    if not frames:
        return Analysis(Route.PERSON, "the failure has no frame in the application's own code")
    module, function = frames[-1]
    if incident.type.rsplit(".", 1)[-1] in _IMPORTS:
        return _agent(repository, f'{sys.executable} -c "import {frames[0][0]}"', "a failed import")
    found = _tests(repository, function.rsplit(".", 1)[-1], module.rsplit(".", 1)[-1])
    if not found:
        return Analysis(Route.PERSON, f"no test in the repository names {module}:{function}")
    command = f"{sys.executable} -m pytest -x {' '.join(found)}"
    return _agent(repository, command, f"tests name {function}")


def _agent(repository: Path, command: str, reason: str) -> Analysis:
    return Analysis(Route.CODING_AGENT, reason, repository, command)


def _tests(repository: Path, function: str, module: str) -> list[str]:
    """Return the test files that name a function, those that name its module too first."""
    tree = Tree(repository)
    wanted = re.compile(rf"\b{re.escape(function)}\b")
    scored = []
    for path in repository.rglob("*.py"):
        inside = path.relative_to(repository).as_posix()
        if any(part.startswith(".") for part in Path(inside).parts) or not is_test(inside):
            continue
        text = tree.read(inside) or ""
        if wanted.search(text) and not inside.endswith("conftest.py"):
            scored.append((module not in text, len(text), inside))
    return [inside for _, _, inside in sorted(scored)[:_MOST_FILES]]

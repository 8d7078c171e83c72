"""From an incident to what the coding agent can be given: a repository and a failing command."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy.orm import Session

from homeostat.repair import knowledge
from homeostat.repair.evidence import is_test
from homeostat.repair.tree import Tree
from homeostat.settings import Mode, settings
from homeostat.store.incidents import Incident

_IMPORTS = frozenset({"ImportError", "ModuleNotFoundError"})
_MOST_FILES = 4
#: The modes in which patches are searched: to be proposed, or to be applied.
_MENDS = frozenset({Mode.ADVISORY, Mode.ENFORCED})


class Route(StrEnum):
    """Who is to mend it."""

    REPLAY = "replay"
    """The coding agent, by a fix that stood for the very same failure before."""
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
    function in which it struck, or else one that called it. The command is tried by the agent and
    not trusted: where it does not fail, nothing is mended.
    """
    incident = session.get(Incident, incident_id)
    if incident is None:
        return Analysis(Route.PERSON, f"there is no incident {incident_id}")
    prospect = prospect_of(session, incident)
    if prospect.route is not Route.CODING_AGENT or prospect.repository is None:
        return prospect
    repository = prospect.repository
    frames = [str(frame).split(":", 1) for frame in incident.basis.get("frames", [])]
    if incident.type.rsplit(".", 1)[-1] in _IMPORTS:
        command = f'{_python(repository)} -c "import {frames[0][0]}"'
        return Analysis(Route.CODING_AGENT, "a failed import", repository, command)
    for module, function in reversed(frames):
        found = _tests(repository, function.rsplit(".", 1)[-1], module.rsplit(".", 1)[-1])
        if found:
            command = f"{_python(repository)} -m pytest -x {' '.join(found)}"
            reason = f"tests name {function}"
            return Analysis(Route.CODING_AGENT, reason, repository, command)
    struck = ":".join(frames[-1])
    return Analysis(Route.PERSON, f"no test in the repository names {struck}")


def prospect_of(session: Session, incident: Incident) -> Analysis:
    """Say who would mend an incident, without a look into the repository."""
    known = settings()
    if not known.recovery:
        return Analysis(Route.PERSON, "recovery is switched off (HOMEOSTAT_RECOVERY)")
    if known.mode not in _MENDS:
        return Analysis(Route.PERSON, f"the mode is {known.mode}, in which nothing is proposed")
    if known.repository is None:
        return Analysis(Route.PERSON, "HOMEOSTAT_REPOSITORY names no checkout that may be mended")
    if not incident.basis.get("frames"):
        return Analysis(Route.PERSON, "the failure has no frame in the application's own code")
    repository = known.repository.resolve()
    if incident.basis.get("target_hash"):
        before = knowledge.trusted_repair(session, incident.replay_key)
        if before is not None and Path(before.repository) == repository:
            reason = f"repair {before.id} stood for the same failure"
            return Analysis(Route.REPLAY, reason, repository, before.command)
    reason = "it was raised in code that may be mended"
    return Analysis(Route.CODING_AGENT, reason, repository)


def _python(repository: Path) -> str:
    """Return the interpreter of the repository's own environment, or this one."""
    for folder in (".venv", "venv"):
        python = repository / folder / "bin" / "python"
        if python.is_file():
            return str(python)
    return sys.executable


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

"""From an incident to what the coding agent can be given: a repository and a failing command."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy.orm import Session

from homeostat.incidents.call import call_in
from homeostat.repair import knowledge
from homeostat.repair.evidence import is_test
from homeostat.repair.tree import Tree
from homeostat.settings import Mode, settings
from homeostat.store.incidents import Bundle, Incident

_IMPORTS = frozenset({"ImportError", "ModuleNotFoundError"})
#: The code of a module itself, as a frame names it.
_BODY = "<module>"
_NO_CALL = (
    "and its call cannot be made again: it is no task of the repository's own, or its arguments "
    "are not plain or held a secret"
)
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
    """Where an incident goes, and why; `command` shows the failure in `repository`.

    `instead` is the incident's own call, for where the command does not show it.
    """

    route: Route
    reason: str
    repository: Path | None = None
    command: str = ""
    instead: str = ""


def analyse(session: Session, incident_id: str) -> Analysis:
    """Decide who mends an incident; it only reads. A way that is not known leads to a person.

    A failed import is shown by the import itself, any other failure by the tests that name the
    function in which it struck, or else one that called it, or else by the incident's own call. The
    command is tried by the agent and not trusted: where it does not fail as the incident did,
    nothing is mended.
    """
    incident = session.get(Incident, incident_id)
    if incident is None:
        return Analysis(Route.PERSON, f"there is no incident {incident_id}")
    prospect = prospect_of(session, incident)
    if prospect.route is not Route.CODING_AGENT or prospect.repository is None:
        return prospect
    repository = prospect.repository
    frames = [_parts(str(frame)) for frame in incident.basis.get("frames", [])]
    python = _python(repository)
    shown = [
        (f'{python} -c "import {module}"', f"the import of {module}")
        for module in _failed_imports(incident, frames)
    ]
    shown += [
        (f"{python} -m pytest -x {' '.join(found)}", f"tests name {function}")
        for module, function in reversed(frames)
        if not shown and (found := _tests(repository, function, module))
    ][:1]
    if own := _own_call(session, incident, repository):
        shown.append((own, "the call itself"))
    if not shown:
        struck = ":".join(frames[-1])
        return Analysis(Route.PERSON, f"no test in the repository names {struck}, {_NO_CALL}")
    commands = [command for command, _ in shown[:2]]
    return Analysis(Route.CODING_AGENT, shown[0][1], repository, *commands)


def _parts(frame: str) -> tuple[str, str]:
    module, _, function = frame.partition(":")
    return module, function


def _failed_imports(incident: Incident, frames: Sequence[tuple[str, str]]) -> list[str]:
    """Return the modules whose import shows a failed import: where it struck, where it began.

    In a circle of imports it shows only from where the circle was entered.
    """
    struck, body = frames[-1]
    if incident.type.rsplit(".", 1)[-1] not in _IMPORTS or body != _BODY or struck == "__main__":
        return []
    began = next(module for module, function in frames if function == _BODY)
    return list(dict.fromkeys((struck, began)))


def _own_call(session: Session, incident: Incident, repository: Path) -> str:
    """Return a command that makes the incident's own call again; empty where none can."""
    bundle = session.get(Bundle, (incident.id, incident.openings))
    call = call_in(bundle.content) if bundle is not None else None
    if call is None:
        return ""
    path = call.module.replace(".", "/")
    for root in (".", "src"):
        folder = repository / root
        if (folder / f"{path}.py").is_file() or (folder / path / "__init__.py").is_file():
            setting = "" if root == "." else f"PYTHONPATH={root} "
            return f"{setting}{_python(repository)} -c {shlex.quote(call.code)}"
    return ""


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
    function, module = function.rsplit(".", 1)[-1], module.rsplit(".", 1)[-1]
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

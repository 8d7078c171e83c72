"""Controls: the same scenario on a throwaway stack with its recovery switched off must fail.

A control's result holds for one revision of the code and is kept in the state folder under it.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

import homeostat
from homeostat.chaos.scenario import ControlResult, Outcome, ScenarioResult
from homeostat.clock import utcnow
from homeostat.settings import Settings

_HOUSE = Path(homeostat.__file__).parent
#: What is hashed: the rooms that a scenario's outcome rests on.
_ROOMS = ("homeostat", "workers", "tasks")
#: Code, and the scenarios, rules and policies that it reads.
_KINDS = frozenset({".py", ".toml"})


def revision() -> str:
    """Return the code's revision: the commit's short hash where there is one, and a content hash.

    The content hash alone decides: it changes with every edit, committed or not.
    """
    root = _HOUSE.parent
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.suffix not in _KINDS:
                continue
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    content = digest.hexdigest()[:12]
    commit = _commit(root)
    return f"{commit}-{content}" if commit else content


def _commit(root: Path) -> str:
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def judge(result: ScenarioResult, code: str) -> ControlResult:
    """Judge a run with recovery off: it must have happened, been steady before, and FAILED."""
    return ControlResult(
        outcome=result.outcome,
        failed_as_it_must=result.outcome is Outcome.FAIL,
        reasons=result.reasons,
        revision=code,
        ran_at=utcnow(),
        cached=False,
    )


class ControlCache:
    """Keeps the controls of this code revision in the state folder."""

    def __init__(self, settings: Settings, code: str) -> None:
        self._folder = settings.state_dir / "chaos" / "controls" / code
        self.code = code

    def get(self, scenario_id: str) -> ControlResult | None:
        """Return the cached control, if it failed as it must; any other is run again."""
        path = self._folder / f"{scenario_id}.json"
        if not path.exists():
            return None
        found = ControlResult.model_validate_json(path.read_bytes())
        if not found.failed_as_it_must or found.revision != self.code:
            return None
        return found.model_copy(update={"cached": True})

    def put(self, scenario_id: str, control: ControlResult) -> None:
        """Keep a control."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{scenario_id}.json"
        path.write_text(control.model_dump_json(indent=1), encoding="utf-8")

    def missing(self, scenario_ids: Iterable[str]) -> list[str]:
        """Return the scenarios that have no control for this revision."""
        return [name for name in scenario_ids if self.get(name) is None]

"""The patient of a drill: a git copy of the platform's own source, with a state of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from homeostat.repair.drill.seeds import DrillError, Seed
from homeostat.settings import PREFIX, Settings
from homeostat.store.database import make_engine

#: Where the platform's source lies: the folder that holds the package `homeostat`.
_SOURCE = Path(__file__).parents[3]
_PARTS = ("homeostat", "workers", "tasks", "beat_schedule.py")
#: A boot of the copy takes about ten seconds on two cores.
_BOOT_TIMEOUT_S = 240
_TIMEOUT_S = 60


class Patient:
    """The copy under `folder`, from whose first commit on it is broken."""

    def __init__(self, folder: Path, seeds: Sequence[Seed]) -> None:
        self.repository, self.seeds = folder / "platform", seeds
        self._folder = folder
        self._states = 0
        self.settings = self.fresh_state()

    def fresh_state(self) -> Settings:
        """Take up a state folder that nobody has used, and return the settings of it."""
        self._states += 1
        state = self._folder / f"state-{self._states}"
        self.settings = Settings(state_dir=state, broker_url="", redis_url="", database_url="")
        return self.settings

    def lay_out(self) -> None:
        """Copy the platform's own source and injure it, in one commit without a past.

        Without a past, because then the agent has to find out and can restore nothing.
        """
        self.repository.mkdir(parents=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for part in _PARTS:
            source, target = _SOURCE / part, self.repository / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy(source, target)
        for seed in self.seeds:
            for path, text in seed.needs.items():
                needed = self.repository / path
                needed.parent.mkdir(parents=True, exist_ok=True)
                needed.write_text(text, encoding="utf-8")
            seed.inject(self.repository)
        (self.repository / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
        self._git("init", "-q")
        self._commit("The platform, with the defects of the drill")

    def injure_again(self) -> None:
        """Put every broken file back as it was in the first commit."""
        first = self._git("rev-list", "--max-parents=0", "HEAD").strip()
        for seed in self.seeds:
            if seed.moved_to:
                seed.inject(self.repository)
            else:
                self._git("checkout", "-q", first, "--", seed.path)
        self._commit("The same defects again")

    def changed(self) -> list[str]:
        """Return the files that differ from the first commit."""
        first = self._git("rev-list", "--max-parents=0", "HEAD").strip()
        return self._git("diff", "--no-renames", "--name-only", first, "HEAD").split()

    def boot(self) -> dict[str, Any]:
        """Boot the copy in a process of its own, as `homeostat boot --json` does."""
        done = self.python("-m", "homeostat.cli", "boot", "--json", timeout_s=_BOOT_TIMEOUT_S)
        try:
            report: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = (done.stderr.strip() or done.stdout.strip())[-400:]
            raise DrillError(f"The copy of the platform did not boot at all: {said}") from None
        return report

    def python(
        self, *words: str, timeout_s: float = _TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run Python on the copy's source, with the copy's own state and no setting of ours."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        env |= {
            "PYTHONPATH": str(self.repository),
            f"{PREFIX}STATE_DIR": str(self.settings.state_dir),
        }
        try:
            return subprocess.run(
                [sys.executable, *words],
                cwd=self.repository, env=env, check=False, capture_output=True, text=True,
                timeout=timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DrillError(f"The copy did not end {words[:3]} within {timeout_s:g} s.") from None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session on the copy's database."""
        engine = make_engine(self.settings.database)
        try:
            with Session(engine, expire_on_commit=False) as session:
                yield session
        finally:
            engine.dispose()

    def _commit(self, message: str) -> None:
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)

    def _git(self, *words: str) -> str:
        identity = ("-c", "user.name=drill", "-c", "user.email=drill@localhost")
        return subprocess.run(
            ["git", *identity, *words],
            cwd=self.repository, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S,
        ).stdout  # fmt: skip

"""The way back from a fault, as data, so that a process that outlives the runner can go it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from homeostat.chaos.ground import Ground
from homeostat.store import effects
from homeostat.store.database import reading


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resume(_Step):
    """Send SIGCONT to a process, if it is still the one that was stopped."""

    do: Literal["resume"] = "resume"
    pid: int
    created: float

    def carry_out(self, ground: Ground) -> None:
        """Go on; a process that has ended needs nothing."""
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            same = psutil.Process(self.pid).create_time() == self.created
            if same and ground.owns(self.pid):
                os.kill(self.pid, signal.SIGCONT)


class Start(_Step):
    """Have the supervisor start a process of the stack, unless it runs."""

    do: Literal["start"] = "start"
    process: str

    def carry_out(self, ground: Ground) -> None:
        """Start it."""
        ground.start(self.process)


class Remove(_Step):
    """Remove a file that the fault put into the state folder."""

    do: Literal["remove"] = "remove"
    path: Path

    def carry_out(self, ground: Ground) -> None:
        """Remove it, if it lies in the state folder."""
        if self.path.resolve().is_relative_to(ground.settings.state_dir.resolve()):
            self.path.unlink(missing_ok=True)


class EndTask(_Step):
    """Kill the process that runs a task which announced itself, if it still does."""

    do: Literal["end_task"] = "end_task"
    key: str

    def carry_out(self, ground: Ground) -> None:
        """Kill it; what has ended needs nothing."""
        with reading() as session:
            pids = [start.pid for start in effects.starts_of(session, self.key)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if ground.owns(pid):
                    os.kill(pid, signal.SIGKILL)


Undo = Annotated[Resume | Start | Remove | EndTask, Field(discriminator="do")]
PLAN: TypeAdapter[list[Undo]] = TypeAdapter(list[Undo])


def carry_out(steps: Sequence[Undo], ground: Ground) -> list[str]:
    """Take every step, whatever became of the one before; return what went wrong, in words."""
    problems = []
    for step in steps:
        try:
            step.carry_out(ground)
        except Exception as error:  # noqa: BLE001  # the next step must be taken all the same
            problems.append(f"{step.do}: {type(error).__name__}: {error}")
    return problems

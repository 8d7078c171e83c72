"""A real process to practise on: it can be killed, and restarted as the stack's processes are."""

from __future__ import annotations

import subprocess
from datetime import datetime
from types import TracebackType
from typing import Self

from homeostat.clock import utcnow
from homeostat.supervision.processes import ProcessInfo

#: A drill that is forgotten ends by itself after this many seconds.
_LIFE_S = "60"


class DrillProcess:
    """One process named `drill` behind the port `ProcessControl`.

    Where `deaf` is set, a restart does nothing and says so to nobody: a remedy on it must be
    found out by its post-condition.
    """

    def __init__(self) -> None:
        """Start the process."""
        self.deaf = False
        self._start()

    def _start(self) -> None:
        self._started_at: datetime = utcnow()
        self._process = subprocess.Popen(["sleep", _LIFE_S], stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """The present process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> int:
        """Kill it, and return the id of the process that is dead now."""
        self._process.kill()
        self._process.wait()
        return self._process.pid

    def processes(self) -> list[ProcessInfo]:
        """Return the one process."""
        return [ProcessInfo("drill", self.pid, self.alive(), self._started_at)]

    def restart(self, name: str) -> None:
        """Start it anew, unless deaf."""
        del name
        if not self.deaf:
            self.kill()
            self._start()

    def __enter__(self) -> Self:
        """Use it as a context, so that no process is left behind."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it."""
        self.kill()

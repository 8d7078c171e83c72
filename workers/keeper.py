"""The keeper: the one process that holds a stack, in the foreground or on its own.

`python -m workers.keeper` is the stack that `homeostat up --detach` leaves running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from homeostat.errors import HomeostatError
from homeostat.settings import PREFIX, Settings, settings
from workers import leftovers, state_file
from workers.processes import LOGS
from workers.stack import START_TIMEOUT_S, STOP_TIMEOUT_S, Stack, StackStartError, stop_requests
from workers.state_file import StackState

LOG = "stack.log"
_PAUSE_S = 0.05


class StartRefusedError(HomeostatError):
    """The stack did not come up."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        # The keeper's own code, so that a script sees the same one with and without --detach.
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable elsewhere


def keep(
    chosen: Settings,
    *,
    on_ready: Callable[[StackState], None],
    progress: Callable[[str], None] = lambda _: None,
) -> StackState:
    """Start the stack, say when it is ready, and hold it until a signal asks for its end."""
    with stop_requests() as stopping:
        stack = Stack(chosen, progress=progress, stopping=stopping)
        with stack as state:
            on_ready(state)
            stack.watch()
    return state


def detach(chosen: Settings) -> StackState:
    """Start a keeper of its own and return once the stack is ready.

    Raises StartRefusedError with the keeper's sentence and exit code where it is not.
    """
    logs = chosen.ensure_state_dir() / LOGS
    logs.mkdir(mode=0o700, exist_ok=True)
    path = logs / LOG
    with path.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "workers.keeper"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, f"{PREFIX}STATE_DIR": str(chosen.state_dir)},
        )
    deadline = time.monotonic() + 2 * START_TIMEOUT_S
    while time.monotonic() < deadline:
        state = state_file.running(chosen)
        if state is not None and state.pid == keeper.pid:
            return state
        if keeper.poll() is not None:
            said = path.read_text(errors="replace").strip().splitlines()
            message = said[-1] if said else f"The stack did not come up; look into {path}."
            raise StartRefusedError(message, keeper.returncode or 1)
        time.sleep(_PAUSE_S)
    keeper.terminate()
    raise StackStartError(f"The stack did not come up in time; look into {path}.")


def stop(chosen: Settings) -> bool:
    """Stop the stack that runs on this folder, and what an earlier one left behind.

    Returns whether there was anything to stop. Raises HomeostatError where its keeper does not
    end in time.
    """
    keeper = state_file.keeper_of(chosen)
    if keeper is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S + START_TIMEOUT_S
        while state_file.keeper_of(chosen) is not None:
            if time.monotonic() > deadline:
                raise HomeostatError(
                    f"The stack's keeper (process {keeper}) does not end; look into "
                    f"{chosen.state_dir / LOGS}, then end it with `kill -9 {keeper}`."
                )
            time.sleep(_PAUSE_S)
    ended = leftovers.end_all(chosen, patience_s=10.0)
    return keeper is not None or ended > 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    """Hold a stack until a signal; the last line of a failure is its one sentence."""
    try:
        keep(settings(), on_ready=lambda _: None, progress=_say)
    except HomeostatError as error:
        _say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

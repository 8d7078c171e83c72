"""Processes of a stack that live on without it, found by their environment and ended.

Every process that the supervisor starts, and every child of one, carries the supervisor's mark
and the state folder in its environment, so nothing has to be remembered between two stacks.
"""

from __future__ import annotations

import contextlib
import os
import time

import psutil

from homeostat.settings import PREFIX, Settings

_PAUSE_S = 0.05
#: How long a process may take to end after a polite request, in seconds.
_POLITE_S = 3.0
#: Set by supervisord in the environment of every process that it starts.
MARK = "SUPERVISOR_ENABLED"


def of(settings: Settings) -> list[psutil.Process]:
    """Return the living processes of a stack on this state folder, the supervisor among them."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    folder = str(settings.state_dir)
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            if environment.get(f"{PREFIX}STATE_DIR") != folder:
                continue
            marked = MARK in environment or "supervisor.supervisord" in process.cmdline()
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_all(settings: Settings, *, patience_s: float) -> int:
    """End them and return how many had to be ended.

    Those that are ending already are given `patience_s`; then each is asked, then killed.
    """
    deadline = time.monotonic() + patience_s
    left = of(settings)
    while left and time.monotonic() < deadline and _supervised(left):
        time.sleep(_PAUSE_S)
        left = of(settings)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _gone, stubborn = psutil.wait_procs(left, timeout=_POLITE_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_POLITE_S)
    return len(left)


def _supervised(processes: list[psutil.Process]) -> bool:
    """Whether a supervisor is among them, which is stopping the others in order."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if "supervisor.supervisord" in process.cmdline():
                return True
    return False

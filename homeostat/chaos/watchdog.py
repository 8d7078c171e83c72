"""Guarantees the rollback: a process of its own that outlives the runner.

It holds one end of a pipe. When the runner disarms it, it ends; when the runner dies (the pipe
closes) or the deadline passes, it goes the way back itself.
"""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from homeostat.chaos import rollback
from homeostat.chaos.ground import Ground
from homeostat.chaos.rollback import PLAN, Undo
from homeostat.settings import settings

_ARMED, _DISARM = b"armed\n", b"disarm\n"
#: How long the watchdog may take to stand ready, in seconds: a Python start on a busy machine.
_READY_S = 30.0


@contextmanager
def armed(steps: Sequence[Undo], ground: Ground, *, deadline_s: float) -> Iterator[list[str]]:
    """Keep the rollback guaranteed inside the block, and go it at the end of the block.

    What is given is a list that then holds what went wrong on the way back, in words.
    """
    problems: list[str] = []
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "homeostat.chaos.watchdog", str(deadline_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Signals that end the runner's group must not end its guarantee.
        start_new_session=True,
    )
    if watchdog.stdin is None or watchdog.stdout is None:
        raise RuntimeError("A process with pipes came without them.")
    try:
        watchdog.stdin.write(PLAN.dump_json(list(steps)) + b"\n")
        watchdog.stdin.flush()
        ready, _, _ = select.select([watchdog.stdout], [], [], _READY_S)
        if not ready or watchdog.stdout.readline() != _ARMED:
            raise RuntimeError("The watchdog did not come up; no fault is injected without it.")
        yield problems
    finally:
        problems += rollback.carry_out(steps, ground)
        with contextlib.suppress(BrokenPipeError):
            watchdog.stdin.write(_DISARM)
            watchdog.stdin.close()
        watchdog.wait(_READY_S)
        watchdog.stdout.close()


def main() -> None:
    """Stand ready, wait for the end, and go the way back unless disarmed."""
    steps = PLAN.validate_json(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(_ARMED)
    sys.stdout.buffer.flush()
    ready, _, _ = select.select([sys.stdin], [], [], float(sys.argv[1]))
    if ready and sys.stdin.buffer.readline() == _DISARM:
        return
    for problem in rollback.carry_out(steps, Ground(settings())):
        sys.stderr.write(f"The way back from a fault failed: {problem}\n")


if __name__ == "__main__":
    main()

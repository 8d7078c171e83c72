"""What keeps the system busy beside the effect jobs: known failures, canaries, slow checks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self

from homeostat import dispatch
from homeostat.chaos.load import PROBE_PRIORITY, Told, enqueue
from homeostat.clock import new_id, utcnow
from homeostat.errors import HomeostatError
from homeostat.supervision.timetable import Entry

log = logging.getLogger(__name__)

DRILL = "stress.fail"
#: Checks that the run itself asks for are recorded under this entry.
BY_STRESS = "stress"
#: How often a producer that is held back looks whether it may go on, in seconds.
HELD_S = 0.25


class Every:
    """Calls `work` now and every so many seconds from a thread, except while `held` is set."""

    def __init__(self, seconds: float, work: Callable[[], None], held: threading.Event) -> None:
        self._seconds = seconds
        self._work = work
        self._held = held
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=work.__name__, daemon=True)

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stop.wait(rest_s):
            # What is held back is made up for at once: calm may be shorter than the interval.
            rest_s = HELD_S if self._held.is_set() else self._seconds
            if self._held.is_set():
                continue
            try:
                self._work()
            except HomeostatError as error:
                # A fault may be in force. What was not asked for is not counted as asked for.
                log.info("Not asked for: %s", error)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop, and let a call that is under way end."""
        self._stop.set()
        self._thread.join(timeout=60)


class Drills:
    """Raises known failures, each of a type of its own, and remembers which."""

    def __init__(self) -> None:
        # Letters and digits only: the name becomes part of an exception's type.
        self._token = new_id().replace("-", "")[-10:].upper()
        self.names: list[str] = []

    def raise_one(self) -> None:
        """Ask a worker to raise the next failure."""
        name = f"drill:{self._token}N{len(self.names):03d}"
        if enqueue(DRILL, {"drill": name}, name, priority=PROBE_PRIORITY) is Told.OK:
            self.names.append(name)


class Canaries:
    """Runs canary trades through the whole flow and remembers under which ids."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run = run
        self.ids: list[str] = []

    def run_one(self) -> None:
        """Run one."""
        run_id = new_id()
        self.ids.append(run_id)
        self._run(run_id)


def ask_for_check(component: str, interval_s: float) -> None:
    """Ask for one check of a component outside its cadence; its lease lasts as for a tick."""
    dispatch.dispatcher().send(
        f"checks.{component}",
        {
            "entry": f"{BY_STRESS}.{component}",
            "due_at": utcnow().isoformat(),
            "interval_s": interval_s,
        },
        priority=PROBE_PRIORITY,
    )


def component_of(entry: Entry) -> str | None:
    """Return the component that an entry checks, None for upkeep."""
    prefix, _, component = entry.task.partition(".")
    return component if prefix == "checks" else None

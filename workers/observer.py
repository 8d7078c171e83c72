"""Sees from outside what a killed process cannot report, and makes one incident of each event.

It has two sources. The supervisor tells it of every process that ended without being asked to
(it runs as the supervisor's event listener, and confirms a notice only once the incident stands
in the store, so that a notice outlives the observer's own death). The workers' events tell which
task ran where. A stop that was asked for is no event here.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import psutil
from celery.utils.nodenames import host_format
from redis import RedisError

from homeostat.errors import HomeostatError
from homeostat.incidents import redacted_log, spool
from homeostat.incidents.failure import Failure, Source
from homeostat.settings import Settings, settings
from homeostat.store.redis import client
from homeostat.supervision.processes import SupervisorProcesses, supervisor_socket
from workers import control, readiness
from workers.processes import LOGS, Process, processes
from workers.reporting import report_failure
from workers.witness import Witness

log = logging.getLogger(__name__)

#: Events that a worker sent before it died may still be on their way for this long, in seconds.
IN_FLIGHT_S = 0.3
#: This many ends within the window are a crash loop.
LOOP_ENDS = 3
LOOP_WINDOW_S = 60.0
#: A process that the supervisor gave up is started again after this many seconds.
START_AGAIN_S = 30.0
#: How long the sign of the observer's own life is valid, in seconds.
SIGN_S = 10
_TICK_S = 1.0

#: The process → the node name of the Celery worker that it runs.
NODES = {
    "worker": control.MAIN,
    "fix_worker": control.FIX,
    "models_worker": control.MODELS,
}


@dataclass(frozen=True)
class Notice:
    """What the supervisor says: a process ended (EXITED, BACKOFF) or was given up (FATAL)."""

    kind: str
    process: str
    expected: bool
    tries: int
    serial: str


def read_notice(stream: TextIO) -> Notice | None:
    """Read one notice of the supervisor's event protocol; None at the end of the stream."""
    header = _fields(stream.readline())
    if "len" not in header:
        return None
    body = _fields(stream.read(int(header["len"])))
    return Notice(
        kind=header["eventname"].removeprefix("PROCESS_STATE_"),
        process=body["processname"],
        expected=body.get("expected") == "1",
        tries=int(body.get("tries", 0)),
        serial=header["serial"],
    )


def _fields(line: str) -> dict[str, str]:
    return dict(word.split(":", 1) for word in line.split() if ":" in word)


class Observer:
    """Turns notices and silences into incidents."""

    def __init__(self, chosen: Settings, report: Callable[..., bool] = report_failure) -> None:
        self.settings = chosen
        self.witness = Witness()
        self._report = report
        self._table: dict[str, Process] = {p.name: p for p in processes(chosen)}
        self._ends: defaultdict[str, deque[float]] = defaultdict(deque)
        self._looped_at: dict[str, float] = {}
        self._start_again: dict[str, float] = {}
        # The supervisor numbers its notices, so its identity and the number name one event; a
        # notice that is told twice, because the observer died in between, counts once.
        self._stack = f"{os.getppid()}:{psutil.Process(os.getppid()).create_time()}"

    def take_in(self, notice: Notice) -> None:
        """Report what the notice says; returns once it stands in the store."""
        process = self._table.get(notice.process)
        if process is None:
            return
        if notice.kind == "FATAL":
            if self.settings.recovery:
                self._start_again[process.name] = time.monotonic() + START_AGAIN_S
            self._insist(self._given_up(process), notice, "given-up")
            return
        if notice.kind == "EXITED" and notice.expected:
            return
        time.sleep(IN_FLIGHT_S)
        running = self.witness.lost(self._node(process))
        # The tries after the first one belong to the loop that is reported as such.
        if notice.kind == "EXITED" or notice.tries <= 1:
            self._insist(self._lost(process, running), notice, "lost")
        if self._loops(process.name):
            self._insist(self._loop(process), notice, "loop")

    def _insist(self, failure: Failure, notice: Notice, what: str) -> None:
        while not self._report(failure, sighting=f"{self._stack}:{notice.serial}:{what}"):
            time.sleep(_TICK_S)

    def _node(self, process: Process) -> str:
        return host_format(f"{NODES.get(process.name, process.name)}@%h")

    def _lost(self, process: Process, running: list[str]) -> Failure:
        kind = "WorkerLostError" if process.name in NODES else "ProcessLostError"
        if process.name == "beat":
            kind = "BeatLostError"
        doing = f" while it ran {', '.join(running)}" if running else ""
        return Failure.without_frames(
            kind,
            f"The process {process.name} ended unasked ({self._how(process)}){doing}.",
            source=Source.BEAT if process.name == "beat" else Source.WORKER,
            component=process.component,
            task=running[0] if running else None,
        )

    def _how(self, process: Process) -> str:
        """How the supervisor saw it end, from its log: `terminated by SIGKILL`."""
        path = self.settings.state_dir / LOGS / "supervisord.log"
        try:
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - 8192, 0))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "how is not known"
        for line in reversed(lines):
            _, found, rest = line.partition(f"exited: {process.name} (")
            if found:
                return rest.split(";")[0]
        return "how is not known"

    def _loops(self, name: str) -> bool:
        """Count an end; whether the process is in a crash loop that was not reported lately."""
        now = time.monotonic()
        ends = self._ends[name]
        ends.append(now)
        while ends[0] < now - LOOP_WINDOW_S:
            ends.popleft()
        if len(ends) < LOOP_ENDS or now - self._looped_at.get(name, -LOOP_WINDOW_S) < LOOP_WINDOW_S:
            return False
        self._looped_at[name] = now
        return True

    def _loop(self, process: Process) -> Failure:
        return Failure.without_frames(
            "CrashLoopError",
            f"The process {process.name} ended {LOOP_ENDS} times within {LOOP_WINDOW_S:.0f} s.",
            source=Source.WORKER,
            component=process.component,
        )

    def _given_up(self, process: Process) -> Failure:
        return Failure.without_frames(
            "CrashLoopError",
            f"The supervisor gave the process {process.name} up: it does not start. "
            f"Look into {LOGS}/{process.name}.log.",
            source=Source.WORKER,
            component=process.component,
        )

    def tick(self) -> None:
        """Look for silences, and start again what was given up long enough ago."""
        names = {host_format(f"{node}@%h"): name for name, node in NODES.items()}
        for node, seconds in self.witness.new_gaps().items():
            if node in names:
                self._report_gap(self._table[names[node]], seconds)
        now = time.monotonic()
        for name in [name for name, due in self._start_again.items() if due <= now]:
            del self._start_again[name]
            SupervisorProcesses(supervisor_socket(self.settings)).start(name)

    def _report_gap(self, process: Process, seconds: float) -> None:
        failure = Failure.without_frames(
            "HeartbeatGapError",
            f"The worker {process.name} lives and gave no heartbeat for {seconds:.0f} s.",
            source=Source.WORKER,
            component=process.component,
        )
        sighting = f"{self._stack}:{process.name}:gap:{time.monotonic():.0f}"
        if not self._report(failure, sighting=sighting):
            spool.keep(failure, sighting=sighting)


def watch_events(observer: Observer) -> None:
    """Feed the workers' events to the observer, for good; a lost broker is connected to anew."""
    app = control.client_app()
    while True:
        try:
            with app.connection_for_read() as connection:
                receiver = app.events.Receiver(connection, handlers={"*": observer.witness.take_in})
                observer.witness.forget_times()
                receiver.capture(limit=None, timeout=None, wakeup=True)
        except Exception as error:  # noqa: BLE001  # a transport raises what its client raises
            log.warning("The events are not to be had (%s); trying again", error)
        time.sleep(_TICK_S)


def keep_watch(observer: Observer) -> None:
    """Tick once a second, for good, and show that the observer lives."""
    while True:
        try:
            observer.tick()
            client().set(readiness.OBSERVER_KEY, os.getpid(), ex=SIGN_S)
        except (HomeostatError, RedisError) as error:
            log.warning("%s", error)
        time.sleep(_TICK_S)


def main() -> None:
    """Watch until the supervisor closes the stream."""
    logging.basicConfig(level=settings().log_level, stream=sys.stderr)
    redacted_log.guard()
    observer = Observer(settings())
    for work in (watch_events, keep_watch):
        threading.Thread(target=work, args=(observer,), daemon=True).start()
    while True:
        sys.stdout.write("READY\n")
        sys.stdout.flush()
        notice = read_notice(sys.stdin)
        if notice is None:
            return
        log.info("The supervisor says %s", notice)
        observer.take_in(notice)
        sys.stdout.write("RESULT 2\nOK")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

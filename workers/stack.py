"""The embedded stack: started in order, supervised, and stopped without a trace.

One keeper process holds the state folder's lock for as long as the stack lives. It starts the
supervisor (supervisord), which runs everything else. Whichever of them is killed, the kernel
ends what it ran: the keeper's death stops the supervisor, the supervisor's death its processes.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents.failure import Failure, Source
from homeostat.settings import Settings
from homeostat.store import jobs
from homeostat.store.database import migrate, transaction
from homeostat.store.redis import client, unavailable_named
from homeostat.supervision.processes import (
    ProcessControlError,
    SupervisorProcesses,
    supervisor_socket,
)
from workers import control, leftovers, preflight, queues, readiness, state_file
from workers.dispatch import send_jobs
from workers.mended_code import RESTARTED_IN_TURN, MendedCode
from workers.processes import LOGS, processes, write_configuration
from workers.reporting import report_failure
from workers.state_file import Lock, StackState

#: How long everything may take to be ready, in seconds; measured: 5–8 s on two cores.
START_TIMEOUT_S = 60.0
#: How long a stop may take, in seconds: the workers' soft shutdown, then the others.
STOP_TIMEOUT_S = 45.0
_PAUSE_S = 0.05
#: The task that boots every component, asked for once the stack is up, and its priority.
BOOT, BOOT_PRIORITY = "boot.all", 9

Progress = Callable[[str], None]


class StackStartError(HomeostatError):
    """The stack did not come up; look into the named log in the state folder."""

    exit_code = 70


class StackLostError(HomeostatError):
    """The stack's supervisor ended; start the stack again with `homeostat up`."""

    exit_code = 70


class StackStoppedError(HomeostatError):
    """The start was stopped by hand; nothing runs."""

    exit_code = 130


class Stack:
    """The stack of one state folder; `with Stack(settings()) as stack:` starts and stops it.

    Raises AlreadyRunningError where one runs, SettingsError, PortTakenError, StoreUnavailableError,
    BrokerUnavailableError and StateFolderError before anything is started.
    """

    def __init__(
        self,
        chosen: Settings,
        *,
        progress: Progress = lambda _: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._lock = Lock(chosen)
        self._stopping = stopping or threading.Event()
        self.settings = chosen
        self.state: StackState | None = None
        self._progress = progress
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._unclean: StackState | None = None
        self._began_at = utcnow()

    def start(self) -> StackState:
        """Start everything and return its addresses once each process has proved ready."""
        began = time.monotonic()
        self._lock.take()
        try:
            preflight.require_paths(self.settings)
            preflight.require_servers(self.settings)
            self._clear_away()
            self.settings = state_file.with_ports(self.settings)
            self._require_what_is_not_ours()
            migrate()
            self._start_supervisor()
            if self.settings.embeds_redis:
                self._start_processes(["redis"])
                self._await({"redis"}, began)
                self._require_redis()
            names = [p.name for p in processes(self.settings) if p.name != "redis"]
            self._start_processes(names)
            self._await(set(names), began)
            self._report_unclean_end()
            self._ask_for_boot()
        except BaseException:
            self.stop()
            raise
        self.state = state_file.describe(self.settings, phase="ready", seconds=_since(began))
        state_file.write(self.settings, self.state)
        return self.state

    def _require_what_is_not_ours(self) -> None:
        """Raise before anything is started where a server is not ours to start and not usable."""
        if self.settings.broker_url:
            control.require_broker()
        if not self.settings.embeds_redis:
            self._require_redis()

    def _require_redis(self) -> None:
        with unavailable_named():
            client().ping()

    def _ask_for_boot(self) -> None:
        """Have a worker boot every component now: the slowest cadence is an hour."""
        with transaction() as session:
            jobs.enqueue(session, BOOT, {}, queue=queues.UPKEEP, priority=BOOT_PRIORITY)
        send_jobs(control.install_dispatcher(), session.info.get("jobs_to_send", ()))

    def _clear_away(self) -> None:
        """End what an earlier stack left, and report that it had no clean end."""
        self._unclean = state_file.read(self.settings)
        ended = leftovers.end_all(self.settings, patience_s=10.0)
        state_file.write(self.settings, state_file.describe(self.settings, phase="starting"))
        if self._unclean is not None or ended:
            self._progress("The last stack on this folder had no clean end; it was cleared away.")

    def _report_unclean_end(self) -> None:
        """Make an incident of the last stack's end, once the store and the queue are there."""
        before = self._unclean
        if before is None or before.phase != "ready":
            return
        failure = Failure.without_frames(
            "StackLostError",
            "The stack had no clean end: its keeper or its supervisor was killed.",
            source=Source.WORKER,
            component="workers.stack",
        )
        report_failure(failure, sighting=f"stack:{before.pid}:{before.started_at}")

    def _start_supervisor(self) -> None:
        configuration = write_configuration(self.settings)
        socket = supervisor_socket(self.settings)
        socket.unlink(missing_ok=True)
        log = self.settings.state_dir / LOGS / "supervisord.err"
        with log.open("wb") as errors:
            self._supervisor = subprocess.Popen(
                [
                    *(sys.executable, "-m", "workers.tether", "SIGTERM"),
                    *("supervisor.supervisord", "--nodaemon", "--configuration", configuration),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # Ctrl-C reaches the whole terminal group; the keeper alone decides on the stop.
                start_new_session=True,
                env=state_file.environment(self.settings),
            )
        control_of = SupervisorProcesses(socket)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            self._require_supervisor()
            with contextlib.suppress(ProcessControlError):
                control_of.processes()
                return
            time.sleep(_PAUSE_S)
        raise StackStartError(f"The supervisor does not answer; look into {log}.")

    def _start_processes(self, names: list[str]) -> None:
        rpc = SupervisorProcesses(supervisor_socket(self.settings))
        for name in names:
            rpc.start(name)

    def _await(self, names: set[str], began: float) -> None:
        """Wait until each of those processes is ready; raises StackStartError."""
        checks = readiness.checks(self.settings)
        waiting = set(names)
        deadline = time.monotonic() + START_TIMEOUT_S
        while waiting:
            self._require_supervisor()
            for name in sorted(waiting):
                if checks[name]():
                    waiting.discard(name)
                    self._progress(f"{name} is ready after {_since(began):.1f} s")
            given_up = waiting & readiness.given_up(self.settings)
            if given_up or time.monotonic() > deadline:
                name = min(given_up or waiting)
                raise StackStartError(
                    f"The stack did not come up: {name} is not ready; look into "
                    f"{self.settings.state_dir / LOGS / f'{name}.log'}."
                )
            time.sleep(_PAUSE_S)

    def _require_supervisor(self) -> None:
        if self._stopping.is_set():
            raise StackStoppedError
        if self._supervisor is None or self._supervisor.poll() is None:
            return
        raise StackLostError(
            f"The stack's supervisor ended with code {self._supervisor.returncode}; everything it "
            f"ran was ended. Look into {self.settings.state_dir / LOGS}, then run `homeostat up`."
        )

    def watch(self) -> None:
        """Return when a stop is asked for; raises StackLostError where the supervisor is lost.

        Mended code reaches the processes that run no tasks from here; workers renew themselves.
        """
        code = MendedCode(since=self._began_at)
        while not self._stopping.wait(0.2):
            self._require_supervisor()
            if code.arrived():
                with contextlib.suppress(StackStoppedError):
                    self._restart_in_turn()

    def _restart_in_turn(self) -> None:
        """Restart what serves, schedules and watches, each once the one before it is ready."""
        rpc = SupervisorProcesses(supervisor_socket(self.settings))
        for name in RESTARTED_IN_TURN:
            began = time.monotonic()
            try:
                rpc.stop(name)
                rpc.start(name)
                self._await({name}, began)
            except (ProcessControlError, StackStartError) as error:
                # The observer reports a process that does not come up; the others go on.
                self._progress(f"{name} did not take up the mended code: {error}")

    def stop(self) -> None:
        """Stop workers, then the others, Redis last; end what is left, and give up the lock."""
        clean = self._supervisor is not None and self._supervisor.poll() is None
        if self._supervisor is not None:
            if clean:
                self._supervisor.send_signal(signal.SIGTERM)
            try:
                self._supervisor.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
                self._supervisor.wait()
                clean = False
            self._supervisor = None
        if self._lock.held:
            leftovers.end_all(self.settings, patience_s=0.0 if clean else 3.0)
            if clean:
                state_file.remove(self.settings)
        self._lock.release()

    def __enter__(self) -> StackState:
        """Start."""
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        self.stop()


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set, so that a stop is never a traceback."""
    event = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        event.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""A stack that really runs, for tests: started once, asked by commands and by its store."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import Engine, text

from homeostat.settings import Settings
from homeostat.store.database import make_engine
from homeostat.supervision.processes import SupervisorProcesses, supervisor_socket
from tests.waiting import wait_until

#: Everything ready; a busy machine is slower than the 8 s that it takes alone.
START_S = 120
POSTGRESQL = "postgresql://postgres@127.0.0.1:5432"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672"


def environment(state_dir: Path, **extra: str) -> dict[str, str]:
    """Return this process's environment with the stack's own settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    return kept | {"HOMEOSTAT_STATE_DIR": str(state_dir), **extra}


def homeostat(
    *words: str, env: Mapping[str, str], timeout: float = START_S
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would, and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "homeostat.cli", *words],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class RunningStack:
    """One stack on a state folder of its own."""

    def __init__(self, state_dir: Path, **extra: str) -> None:
        self.state_dir = state_dir
        self.extra = extra
        self.env = environment(state_dir, **extra)
        fields = {name.removeprefix("HOMEOSTAT_").lower(): v for name, v in extra.items()}
        self.settings = Settings.model_validate({"state_dir": state_dir, **fields})
        self.engine: Engine = make_engine(self.settings.database)

    def up(self) -> None:
        """Start it; raises AssertionError with what it said where it does not come up."""
        done = self.run("up", "--detach")
        assert done.returncode == 0, done.stderr + self.log("stack")

    def down(self) -> None:
        """Stop it."""
        done = self.run("down")
        assert done.returncode == 0, done.stderr
        self.engine.dispose()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this stack."""
        return homeostat(*words, env=self.env)

    def log(self, name: str) -> str:
        """Return a process's log."""
        path = self.state_dir / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def state(self) -> dict[str, Any]:
        """What `stack.json` says."""
        found: dict[str, Any] = json.loads((self.state_dir / "stack.json").read_text())
        return found

    def pids(self) -> dict[str, int]:
        """The pids of the processes that run now, by name."""
        from workers.readiness import running_pids

        return running_pids(self.settings)

    def pid(self, name: str) -> int:
        """The pid of one process, awaited."""
        return wait_until(lambda: self.pids().get(name, 0), f"{name} runs")

    def children(self, name: str) -> list[psutil.Process]:
        """The pool children of a worker."""
        return psutil.Process(self.pid(name)).children()

    def start(self, name: str) -> None:
        """Have the supervisor start one process."""
        SupervisorProcesses(supervisor_socket(self.settings)).start(name)

    def stop(self, name: str) -> None:
        """Have the supervisor stop one process."""
        SupervisorProcesses(supervisor_socket(self.settings)).stop(name)

    def rows(self, sql: str, **values: object) -> list[dict[str, Any]]:
        """Read the stack's own store."""
        reading = self.engine.execution_options(reading=True)
        with reading.connect() as connection:
            return [dict(row) for row in connection.execute(text(sql), values).mappings()]

    def incidents(self, kind: str, component: str = "%") -> list[dict[str, Any]]:
        """The incidents of an exception type, for a component or all."""
        return self.rows(
            "SELECT * FROM incidents WHERE type LIKE :kind AND component LIKE :component "
            "ORDER BY opened_at",
            kind=f"%{kind}",
            component=component,
        )

    def send(self, task: str, **kwargs: Any) -> None:
        """Ask for a task, as this process's settings say; the `stack` fixture points them here."""
        from workers import control
        from workers.dispatch import CeleryDispatcher

        # Ahead of the checks that a busy machine has not got to yet.
        CeleryDispatcher(control.client_app()).send(task, kwargs, priority=10)


def alive(pid: int) -> bool:
    """Return whether the process lives; one that has ended and was not collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(state_dir: Path, **extra: str) -> Iterator[RunningStack]:
    """Start a stack and stop it at the end, whatever happened to it meanwhile."""
    stack = RunningStack(state_dir, **extra)
    stack.up()
    try:
        yield stack
    finally:
        stack.down()


def rabbitmq_answers() -> bool:
    """Return whether a vhost of our own can be made on the test broker."""
    return _rabbitmqctl("status") == 0


@contextmanager
def own_vhost() -> Iterator[str]:
    """Make a vhost of the test's own, so that no queue is shared, and remove it at the end."""
    name = f"homeostat_test_{secrets.token_hex(6)}"
    assert _rabbitmqctl("add_vhost", name) == 0
    assert _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*") == 0
    try:
        yield f"{RABBITMQ}/{name}"
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*words: str) -> int:
    try:
        done = subprocess.run(
            ["rabbitmqctl", "--quiet", *words], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 1
    return done.returncode


@contextmanager
def own_database() -> Iterator[str]:
    """Make a database of the test's own on the test server, and remove it at the end."""
    name = f"homeostat_test_{secrets.token_hex(6)}"
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{POSTGRESQL}/{name}"
    finally:
        with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

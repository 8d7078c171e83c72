"""A broker, a worker, a beat and a database of a benchmark's own, and what breaks them.

The parent supervises: what dies is started again, as the real stack does it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import psycopg
from redis import Redis, RedisError

from homeostat.settings import Settings
from homeostat.store import embedded
from workers.queues import MAIN_QUEUES, redis_lists

WORKER, BEAT, BROKER = "worker", "beat", "broker"
#: How long a process or a server is given to answer, in seconds.
START_S = 90.0
_LOOK_S = 0.1


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = START_S) -> None:
    """Wait until the condition holds; raises TimeoutError with what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s:.0f} s.")
        time.sleep(_LOOK_S)


class Stack:
    """The processes, each started again when it ends, until the stack is closed."""

    def __init__(
        self, state: Path, *, recovery: bool = True, concurrency: int = 4, database: str = ""
    ) -> None:
        self.env = {
            **{name: v for name, v in os.environ.items() if not name.startswith("HOMEOSTAT_")},
            "HOMEOSTAT_STATE_DIR": str(state),
            "HOMEOSTAT_RECOVERY": str(recovery).lower(),
            "HOMEOSTAT_DATABASE_URL": database,
        }
        self.settings = Settings(state_dir=state, recovery=recovery, database_url=database)
        celery = [sys.executable, "-m", "celery", "-A", "workers.app"]
        words = ["-Q", ",".join(MAIN_QUEUES), "-c", str(concurrency), "--without-mingle"]
        self._commands = {
            BROKER: embedded.command(self.settings),
            WORKER: [*celery, "worker", "-l", "WARNING", *words],
            BEAT: [
                *celery, "beat", "-l", "WARNING", "-S", "benchmarks.ledger_app:SweepBeat",
                "-s", os.devnull,
            ],
        }  # fmt: skip
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._supervise, daemon=True)
        self.restarts = dict.fromkeys(self._commands, 0)

    def __enter__(self) -> Self:
        """Start all of it and wait until the worker has its pool."""
        self.settings.ensure_state_dir()
        self._start(BROKER)
        wait_for(lambda: embedded.ready(self.settings), "the broker's answer")
        self._start(WORKER)
        self._start(BEAT)
        self._watch.start()
        wait_for(self.children, "the worker's pool")
        return self

    def __exit__(self, *_exception: object) -> None:
        """Kill all of it."""
        self._ending.set()
        self._watch.join(timeout=5)
        for process in self._running.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    def pid(self, name: str) -> int:
        """Return the pid of one of the processes."""
        return self._running[name].pid

    def children(self) -> list[int]:
        """Return the pids of the worker's pool children."""
        try:
            return [child.pid for child in psutil.Process(self.pid(WORKER)).children()]
        except psutil.NoSuchProcess:
            return []

    def redis(self) -> Redis:
        """Return a client of the broker."""
        return Redis(unix_socket_path=str(self.settings.redis_socket), socket_timeout=5)

    def kill_main(self) -> bool:
        """Kill -9 the worker's main process; True where it is seen to have ended."""
        return self._kill(WORKER)

    def kill_child(self) -> bool:
        """Kill -9 one pool child; True where it is seen to have ended."""
        children = self.children()
        if not children:
            return False
        victim = children[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in self.children(), "the child's end", 10)
        return True

    def kill_broker(self) -> bool:
        """Kill -9 the broker; True where it is seen to have ended."""
        return self._kill(BROKER)

    def flush_broker(self) -> bool:
        """Throw away all that the broker holds; True where it held something."""
        try:
            with self.redis() as client:
                held = int(client.dbsize())
                client.flushall()
        except RedisError:
            return False
        return held > 0

    def held(self) -> int:
        """Return how many messages wait or are taken and not acknowledged."""
        with self.redis() as client:
            waiting = sum(
                int(client.llen(name)) for queue in MAIN_QUEUES for name in redis_lists(queue)
            )
            return waiting + int(client.hlen("unacked"))

    def texts(self) -> str:
        """Return all messages that the broker still holds, as one text to search."""
        with self.redis() as client:
            rows: list[bytes] = list(client.hvals("unacked"))
            for queue in MAIN_QUEUES:
                for name in redis_lists(queue):
                    rows += client.lrange(name, 0, -1)
        return "\n".join(str(row, "utf-8", "replace") for row in rows)

    def _kill(self, name: str) -> bool:
        process = self._running[name]
        if process.poll() is not None:
            return False
        process.kill()
        return process.wait(10) == -signal.SIGKILL

    def _start(self, name: str) -> None:
        with (self.settings.state_dir / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._commands[name], env=self.env, stdout=log, stderr=log
            )

    def _supervise(self) -> None:
        while not self._ending.wait(_LOOK_S):
            for name, process in list(self._running.items()):
                if process.poll() is not None and not self._ending.is_set():
                    self.restarts[name] += 1
                    self._start(name)


def _free_port() -> int:
    """Return a port that no server listens on, below those that clients are given (32768).

    A port that was free a moment ago is otherwise taken by somebody's connection on a busy host.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class PostgresServer:
    """A PostgreSQL server of the benchmark's own, on a free port of the loopback."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        if not found:
            raise FileNotFoundError("no PostgreSQL server binaries in /usr/lib/postgresql/*/bin")
        self._bin = found[-1].parent
        self._data = folder / "postgresql"
        self._port = _free_port()
        # The server refuses to run as root, so root runs it as its own user.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its one database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        """Make and start it."""
        self._data.mkdir(parents=True)
        if self._as:
            for folder in (self._data, *self._data.parents):
                if folder.owner() == "root" and folder.name and folder.parent != Path("/"):
                    folder.chmod(0o711)
            shutil.chown(self._data, "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust")
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start it, on what it had stored before."""
        options = f"-p {self._port} -k '' -h 127.0.0.1 -c max_connections=60"
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-w", "-l",
                  str(self._data / "log"), "start")  # fmt: skip

    def stop(self) -> None:
        """Stop it as a crash does."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def restart(self) -> bool:
        """Restart it as after a crash; True where it is seen to be a new one."""
        before = self._started()
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "-l",
                  str(self._data / "log"), "restart")  # fmt: skip
        return self._started() != before

    def _started(self) -> object:
        with psycopg.connect(host="127.0.0.1", port=self._port, user="postgres") as connection:
            return connection.execute("SELECT pg_postmaster_start_time()").fetchone()

    def _run(self, program: str, *words: str) -> None:
        command = [*self._as, str(self._bin / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       cwd="/")  # fmt: skip

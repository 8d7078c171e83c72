"""Whether each process of the stack does its work now: asked of the process itself."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from redis import RedisError

from homeostat.errors import StoreUnavailableError
from homeostat.settings import Settings
from homeostat.store import embedded
from homeostat.store.beat import lock_of
from homeostat.store.database import reading
from homeostat.store.redis import client
from homeostat.supervision.processes import (
    ProcessControlError,
    SupervisorProcesses,
    supervisor_socket,
)
from workers import control

#: Under this key the observer writes its pid, for as long as it lives.
OBSERVER_KEY = "homeostat:observer"
#: What HTTP counts as an answer: anything but a server's own error.
_SERVER_ERROR = 500


def answers_http(port: int, path: str = "/") -> bool:
    """Return whether an HTTP server on loopback answers that path, if only to refuse."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < _SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def running_pids(settings: Settings) -> dict[str, int]:
    """Return the pids of the processes that run, by name; empty where no supervisor answers."""
    try:
        found = SupervisorProcesses(supervisor_socket(settings)).processes()
    except ProcessControlError:
        return {}
    return {process.name: process.pid for process in found if process.pid}


def given_up(settings: Settings) -> set[str]:
    """Return the names of the processes that the supervisor has given up."""
    try:
        found = SupervisorProcesses(supervisor_socket(settings)).processes()
    except ProcessControlError:
        return set()
    return {process.name for process in found if process.state == "FATAL"}


def observer_watches(pid: int) -> bool:
    """Return whether the observer of that pid has its eyes on the events."""
    try:
        return bool(pid) and client().get(OBSERVER_KEY) == str(pid)
    except RedisError:
        return False


def beat_is_active(pid: int) -> bool:
    """Return whether the beat of that pid holds the lock of the one active beat."""
    try:
        with reading() as session:
            holder = lock_of(session).holder
    except StoreUnavailableError:
        return False
    # A holder is `host|process space|pid|start`, as `workers.leadership` writes it.
    return bool(pid) and holder.split("|")[2:3] == [str(pid)]


def checks(settings: Settings) -> dict[str, Callable[[], bool]]:
    """Return, per process of the stack, what must hold for it to be ready."""
    pid_of = running_pids
    return {
        "redis": lambda: embedded.ready(settings),
        "observer": lambda: observer_watches(pid_of(settings).get("observer", 0)),
        "worker": lambda: bool(control.pings([control.MAIN])),
        "fix_worker": lambda: bool(control.pings([control.FIX])),
        "models_worker": lambda: bool(control.pings([control.MODELS])),
        "beat": lambda: beat_is_active(pid_of(settings).get("beat", 0)),
        "flower": lambda: answers_http(settings.flower_port, "/healthcheck"),
        "api": lambda: answers_http(settings.api_port),
    }

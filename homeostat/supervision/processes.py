"""The processes of the embedded stack as a remedy sees them: names, states, and a restart.

The stack runs under supervisord, which answers XML-RPC on a unix socket in the state folder. A
remedy asks through the port `ProcessControl`, so that a test can hand in processes of its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

from supervisor import xmlrpc as supervisor_xmlrpc

from homeostat.errors import HomeostatError
from homeostat.settings import LONGEST_SOCKET_PATH, Settings

#: Supervisor publishes no types.
_Transport: Any = supervisor_xmlrpc.SupervisorTransport

#: The supervisor's states of a process that runs, or that it is about to have running.
UNDER_WAY = ("RUNNING", "STARTING", "BACKOFF")
#: How long a starting process is awaited, in seconds; the stack's own limit is 3.
_LONGEST_START_S = 15.0
_PAUSE_S = 0.1


class ProcessControlError(HomeostatError):
    """The supervisor of the stack does not answer; start the stack with `homeostat up`."""

    exit_code = 69


@dataclass(frozen=True)
class ProcessInfo:
    """One process of the stack; `running` is the supervisor's own word for it."""

    name: str
    pid: int
    running: bool
    started_at: datetime
    #: The supervisor's word for it: RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL …
    state: str = ""


class ProcessControl(Protocol):
    """What a remedy may do to the stack's processes."""

    def processes(self) -> list[ProcessInfo]:
        """Return all processes; raises ProcessControlError where nobody answers."""

    def restart(self, name: str) -> None:
        """Stop and start the process; returns when it is up, or raises ProcessControlError."""


class PoolControl(Protocol):
    """What a remedy may do to the size of a worker's pool; `workers` implements it."""

    def size(self) -> int:
        """Return the number of pool children over all workers of the main queues."""

    def grow(self, by: int) -> None:
        """Ask each of those workers for `by` more children."""

    def shrink(self, by: int) -> None:
        """Take `by` children away again, over all of those workers."""


class _Port:
    pools: PoolControl | None = None


def install_pools(pools: PoolControl) -> None:
    """Make `pools` the control that this process's remedies use."""
    _Port.pools = pools


def pools() -> PoolControl:
    """Return the installed pool control; raises ProcessControlError where there is none."""
    if _Port.pools is None:
        raise ProcessControlError("No pool control is installed in this process.")
    return _Port.pools


def supervisor_socket(settings: Settings) -> Path:
    """Return the supervisor's socket: in the state folder, or a short stand-in path."""
    path = settings.state_dir / "supervisor.sock"
    # supervisord binds a temporary name first: the path, a dot, and its pid.
    if len(os.fsencode(path)) + len(".4194304") <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(settings.state_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"homeostat-{os.getuid()}-{digest}" / "supervisor.sock"


class SupervisorProcesses:
    """The stack's processes over the supervisor's XML-RPC."""

    def __init__(self, socket: Path) -> None:
        """Take the socket's path; nothing is connected before the first call."""
        self._socket = socket

    def processes(self) -> list[ProcessInfo]:
        """Return all processes of the stack."""
        return [
            ProcessInfo(
                name=str(row["name"]),
                pid=int(row["pid"]),
                running=row["statename"] == "RUNNING",
                started_at=datetime.fromtimestamp(int(row["start"]), UTC),
                state=str(row["statename"]),
            )
            for row in self._call("getAllProcessInfo")
        ]

    def restart(self, name: str) -> None:
        """Stop the process, where it runs, and start it; one that is just starting is awaited.

        Whoever asks may run in the very process that is stopped, or be stopped meanwhile; what
        was stopped is started all the same.
        """
        full = self._full_name(name)
        state = self._state(full)
        if state == "STARTING":
            # The supervisor was faster; a second start would only cost the first one's time.
            state = self._settled(full)
            if state == "RUNNING":
                return
        if state in UNDER_WAY:
            self._stop_and_start(name)
        else:
            self._call("startProcess", full)

    def _stop_and_start(self, name: str) -> None:
        """Have a process of its own do both, in a session that nobody ends with this one."""
        command = [sys.executable, "-m", __name__, str(self._socket), name]
        # A pipe would break with this process, and take the start with it.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
            )
            said.seek(0)
            if done.returncode:
                raise ProcessControlError(said.read().strip() or f"{name} was not restarted.")

    def start(self, name: str, *, wait: bool = False) -> None:
        """Ask for the process to be started; with `wait` return when it runs."""
        self._call("startProcess", self._full_name(name), wait)

    def stop(self, name: str) -> None:
        """Stop the process and return when it has ended; it stays stopped until it is started."""
        self._call("stopProcess", self._full_name(name))

    def _full_name(self, name: str) -> str:
        rows = self._call("getAllProcessInfo")
        full = {str(row["name"]): f"{row['group']}:{row['name']}" for row in rows}
        if name not in full:
            raise ProcessControlError(
                f"The stack has no process named {name!r} (it has {', '.join(sorted(full))})."
            )
        return full[name]

    def _state(self, full_name: str) -> str:
        return str(self._call("getProcessInfo", full_name)["statename"])

    def _settled(self, full_name: str) -> str:
        """Return the state that a starting process comes to."""
        deadline = time.monotonic() + _LONGEST_START_S
        while (state := self._state(full_name)) == "STARTING" and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return state

    def _call(self, method: str, *arguments: str | bool) -> Any:  # XML-RPC answers are untyped
        # The address is never used: the transport connects to the socket.
        transport: Any = _Transport(serverurl=f"unix://{self._socket}")
        proxy = ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, RpcError) as error:
            raise ProcessControlError(
                f"The stack's supervisor did not carry out {method} {list(arguments)} ({error})"
                "; see whether the stack is up with `homeostat status`."
            ) from error
        finally:
            transport.close()


def main() -> None:
    """Stop and start a process; the supervisor's socket and its name are on the command line."""
    socket, name = sys.argv[1:]
    control = SupervisorProcesses(Path(socket))
    try:
        control.stop(name)
        control.start(name, wait=True)
    except ProcessControlError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

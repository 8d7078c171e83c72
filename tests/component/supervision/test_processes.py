"""Restarts by the supervisor, whatever becomes of who asked for one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from homeostat.settings import Settings
from homeostat.supervision.processes import (
    ProcessControlError,
    SupervisorProcesses,
    supervisor_socket,
)
from tests.waiting import wait_until

#: It does not end when it is asked to, so that a stop takes as long as the supervisor is patient.
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: None)\ntime.sleep(600)\n"
CONFIGURATION = """
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
[unix_http_server]
file = {socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:stubborn]
command = {python} {folder}/stubborn.py
stopwaitsecs = 1
startsecs = 1
startretries = 0
"""
ASK = """
import sys
from pathlib import Path
from homeostat.supervision.processes import SupervisorProcesses
SupervisorProcesses(Path(sys.argv[1])).restart("stubborn")
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that the supervisor runs."""
    path = tmp_path_factory.mktemp("supervised") / "stubborn.py"
    path.write_text(STUBBORN)
    return path


@pytest.fixture(scope="module")
def socket(program: Path) -> Iterator[Path]:
    """The socket of a supervisor that runs one process."""
    folder = program.parent
    path = supervisor_socket(Settings(state_dir=folder))
    path.parent.mkdir(exist_ok=True)
    file = folder / "supervisord.conf"
    file.write_text(CONFIGURATION.format(folder=folder, socket=path, python=sys.executable))
    command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: running(path), "the process runs")
            yield path
        finally:
            process.terminate()


def state(socket: Path) -> tuple[str, int]:
    """Return the process's state and pid; an empty state where nobody answers yet."""
    with suppress(ProcessControlError):
        (info,) = SupervisorProcesses(socket).processes()
        return info.state, info.pid
    return "", 0


def running(socket: Path) -> int:
    found, pid = state(socket)
    return pid if found == "RUNNING" else 0


def test_a_restart_ends_with_a_process_that_runs(socket: Path) -> None:
    before = running(socket)
    SupervisorProcesses(socket).restart("stubborn")
    assert running(socket) not in {0, before}


def test_a_restart_goes_on_where_who_asked_for_it_is_killed(socket: Path) -> None:
    before = running(socket)
    with subprocess.Popen([sys.executable, "-c", ASK, str(socket)]) as asking:
        wait_until(lambda: state(socket)[0] == "STOPPING", "it is being stopped")
        asking.kill()
    wait_until(lambda: running(socket) not in {0, before}, "it runs again")


def test_a_restart_that_cannot_be_tells_why(socket: Path, program: Path) -> None:
    program.unlink()
    with pytest.raises(ProcessControlError, match="startProcess"):
        SupervisorProcesses(socket).restart("stubborn")

"""What a scenario stands on: the stack's processes, its broker and its store, seen from outside.

Everything here looks at the operating system, the broker's socket or the store's rows. Nothing
asks the system how it feels, and no client retries, because a retry hides an outage.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import psutil

from homeostat.errors import HomeostatError
from homeostat.settings import Settings
from homeostat.supervision.processes import (
    UNDER_WAY,
    ProcessControlError,
    ProcessInfo,
    SupervisorProcesses,
    supervisor_socket,
)

T = TypeVar("T")
#: How long a loop rests between two looks, in seconds: the resolution of every figure.
PAUSE_S = 0.05


class NotOursError(HomeostatError):
    """A fault was aimed at a process outside the stack, and was not carried out."""


class Starter(Protocol):
    """What the ground asks of the supervisor."""

    def processes(self) -> list[ProcessInfo]:
        """Return all processes of the stack."""

    def start(self, name: str) -> None:
        """Start a process that does not run."""


@dataclass(frozen=True)
class Ground:
    """One running stack under test."""

    settings: Settings

    @property
    def control(self) -> Starter:
        """The stack's supervisor."""
        return SupervisorProcesses(supervisor_socket(self.settings))

    def pids(self) -> dict[str, int]:
        """Return the living pids by process name; one without a process is left out."""
        try:
            found = self.control.processes()
        except ProcessControlError:
            return {}
        return {info.name: info.pid for info in found if info.pid and alive(info.pid)}

    def names(self) -> set[str]:
        """Return the names of all processes of the stack, running or not."""
        try:
            return {info.name for info in self.control.processes()}
        except ProcessControlError:
            return set()

    @staticmethod
    def children_of(pid: int) -> list[int]:
        """Return the pids of the living descendants of a process."""
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def pool(self, name: str) -> list[int]:
        """Return the pids of a worker's pool children, without the programs that these run."""
        pid = self.pids().get(name)
        try:
            return [child.pid for child in psutil.Process(pid).children()] if pid else []
        except psutil.NoSuchProcess:
            return []

    def send_signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process of the stack; raises NotOursError for any other."""
        if not self.owns(pid):
            raise NotOursError(f"The process {pid} is not part of the stack; nothing was sent.")
        os.kill(pid, number)

    def owns(self, pid: int) -> bool:
        """Return whether the process is one of the stack's, by the supervisor or by descent."""
        ours = set(self.pids().values())
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            return pid in ours or any(parent.pid in ours for parent in process.parents())
        return False

    def start(self, name: str) -> None:
        """Have the supervisor start the process, unless it is at that already; wait for nothing.

        Raises ProcessControlError where nobody answers, or nobody can start it.
        """
        states = {info.name: info.state for info in self.control.processes()}
        if states.get(name) not in UNDER_WAY:
            self.control.start(name)


def alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stopped(pid: int) -> bool:
    """Return whether the process is held by SIGSTOP."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def born(pid: int) -> datetime | None:
    """Return when the process was started, by the kernel's own record."""
    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC)
    except psutil.NoSuchProcess:
        return None


def await_true(condition: Callable[[], T], timeout_s: float) -> T:
    """Return the first true value of `condition`, or its last false one after the time-out."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return value


def beats(timeout_s: float) -> Iterator[float]:
    """Yield the seconds since the start, at every pause, until the time-out."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < timeout_s:
        yield passed
        time.sleep(PAUSE_S)

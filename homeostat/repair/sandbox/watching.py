"""A process under watch: its output is kept up to a limit, and a bound that it passes ends it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from homeostat.errors import HomeostatError
from homeostat.repair.sandbox.limits import Limits

#: Seconds between two looks at what the run uses.
_POLL_S = 0.1


class SandboxError(HomeostatError):
    """The sandbox could not be set up."""


@dataclass(frozen=True)
class Run:
    """What a run left behind; `stopped` names the limit that ended it, None where it ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float
    records: tuple[dict[str, Any], ...] = ()
    stopped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the command ended by itself with exit status 0."""
        return self.returncode == 0 and self.stopped is None

    @property
    def output(self) -> str:
        """Both streams, standard output first."""
        return self.stdout + ("\n" if self.stdout and self.stderr else "") + self.stderr


class Watched:
    """A process whose output is collected from its start, and whose bounds hold from `wait` on."""

    def __init__(
        self, words: list[str], env: Mapping[str, str], cwd: Path, keep: Sequence[int],
        limits: Limits,
    ) -> None:  # fmt: skip
        """Start `words`; the descriptors of `keep` are handed on. Raises SandboxError."""
        self._limits = limits
        reading, writing = os.pipe()
        try:
            self.process = subprocess.Popen(
                words,
                env={**env, "HOMEOSTAT_RECORD_FD": str(writing)},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[*keep, writing],
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            raise SandboxError(
                f"The sandbox could not start {words[0]}: {error.strerror}."
            ) from error
        finally:
            os.close(writing)
        assert self.process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
        assert self.process.stderr is not None  # noqa: S101 - as above
        streams: list[IO[bytes]] = [
            self.process.stdout, self.process.stderr, os.fdopen(reading, "rb"),
        ]  # fmt: skip
        sizes = (limits.output_bytes, limits.output_bytes, limits.record_bytes)
        self._readers = [_Reader(stream, size) for stream, size in zip(streams, sizes, strict=True)]

    def wait(self, wall_s: float | None) -> Run:
        """Wait for its end, or end it where it passes a bound; the time counts from here."""
        start = time.perf_counter()
        stopped = _wait(self.process, start, self._limits, wall_s or self._limits.wall_s)
        self.end()
        out, err, records = (reader.text for reader in self._readers)
        seconds = time.perf_counter() - start
        return Run(self.process.returncode, out, err, seconds, _parse_records(records), stopped)

    def end(self) -> None:
        """Kill the whole session; bubblewrap's process space dies with its first process."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        for reader in self._readers:
            reader.thread.join(timeout=5)


def _wait(
    process: subprocess.Popen[bytes], start: float, limits: Limits, wall_s: float
) -> str | None:
    with _end_of(process) as ended:
        while not ended(_POLL_S):
            if time.perf_counter() - start > wall_s:
                return f"time limit of {wall_s:g} s"
            if _resident_bytes(process.pid) > limits.memory_bytes:
                return f"memory limit of {limits.memory_bytes >> 20} MiB"
    return None


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[Callable[[float], bool]]:
    """Give what waits at most so many seconds for the end, and returns whether it came.

    The standard library's own wait looks each 50 ms, which a run of 100 ms would feel; it is used
    where the system has no descriptor of a process (Linux has since 5.3).
    """
    descriptor = _descriptor_of(process)
    if descriptor is None:
        yield lambda seconds: _ended_within(process, seconds)
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        yield lambda seconds: bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _descriptor_of(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return None


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _resident_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += child.memory_info().rss
    return total


class _Reader:
    """Reads a stream to its end in a thread and keeps the first `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._kept = bytearray()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError), self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                if len(self._kept) < self._limit:
                    self._kept += chunk[: self._limit - len(self._kept)]

    @property
    def text(self) -> str:
        """What was read, undecodable bytes replaced."""
        return self._kept.decode(errors="replace")


def _parse_records(text: str) -> tuple[dict[str, Any], ...]:
    records = []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(line)
            if isinstance(value, dict):
                records.append(value)
    return tuple(records)

"""A process under watch: its output is kept up to a limit, and a bound that it passes ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
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


def watch(
    words: list[str],
    env: dict[str, str],
    cwd: Path,
    keep: list[int],
    limits: Limits,
    wall_s: float | None,
) -> Run:
    """Start `words`, collect its output up to the limit, and end it when it passes a bound."""
    start = time.perf_counter()
    reading, writing = os.pipe()
    env = {**env, "HOMEOSTAT_RECORD_FD": str(writing)}
    try:
        process = subprocess.Popen(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[*keep, writing],
            start_new_session=True,
        )
    except OSError as error:
        os.close(reading)
        raise SandboxError(f"The sandbox could not start {words[0]}: {error.strerror}.") from error
    finally:
        os.close(writing)
    assert process.stdout is not None  # noqa: S101 - for the type checker: PIPE was asked for
    assert process.stderr is not None  # noqa: S101 - as above
    streams: list[IO[bytes]] = [process.stdout, process.stderr, os.fdopen(reading, "rb")]
    sizes = (limits.output_bytes, limits.output_bytes, limits.record_bytes)
    readers = [_Reader(stream, size) for stream, size in zip(streams, sizes, strict=True)]
    stopped = _wait(process, start, limits, wall_s or limits.wall_s)
    _end(process)
    for reader in readers:
        reader.thread.join(timeout=5)
    out, err, records = (reader.text for reader in readers)
    return Run(
        process.returncode, out, err, time.perf_counter() - start, _parse_records(records), stopped
    )


def _wait(
    process: subprocess.Popen[bytes], start: float, limits: Limits, wall_s: float
) -> str | None:
    while True:
        try:
            process.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None
        if time.perf_counter() - start > wall_s:
            return f"time limit of {wall_s:g} s"
        if _resident_bytes(process.pid) > limits.memory_bytes:
            return f"memory limit of {limits.memory_bytes >> 20} MiB"


def _resident_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += child.memory_info().rss
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole session; bubblewrap's process space dies with its first process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


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

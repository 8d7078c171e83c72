"""The name of a process that holds something, by which another sees that it is no more."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil


def own_name() -> str:
    """Return who this is: host, process space, pid and when the process began."""
    return name_of(psutil.Process())


def name_of(process: psutil.Process) -> str:
    """Return the name of a living process of this host."""
    began = process.create_time()
    return f"{socket.gethostname()}|{_process_space()}|{process.pid}|{began:.2f}"


def has_ended(holder: str) -> bool:
    """Return whether the holder was a process of this host and is surely no more."""
    parts = holder.split("|")
    if len(parts) != 4 or parts[:2] != [socket.gethostname(), _process_space()]:
        return False
    try:
        process = psutil.Process(int(parts[2]))
        began = f"{process.create_time():.2f}"
        return began != parts[3] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def _process_space() -> str:
    # Containers may share a host name, and then a pid of the one means nothing in the other.
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""

"""What the process and its host looked like: resources, configuration, packages, revision.

The parts that take long (package versions, the revision) are read once per process, by `warm`,
when a worker starts; a bundle uses what is there and never waits for them.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import distributions
from pathlib import Path

import psutil
from pydantic import JsonValue

from homeostat.settings import PREFIX, settings

LONGEST_DIFF = 20_000
GIT_TIMEOUT_S = 5.0
MAX_CHANGED = 50


class _Known:
    """What `warm` has found out for this process."""

    packages: dict[str, JsonValue] | None = None
    revision: dict[str, JsonValue] | None = None


def warm() -> None:
    """Read package versions and the source's revision now; call it where a wait does no harm."""
    _Known.packages = packages()
    _Known.revision = revision(settings().repository or Path.cwd(), with_diff=False)


def warm_in_background() -> None:
    """Warm on a daemon thread, so that a worker's start does not wait for it."""
    threading.Thread(target=warm, name="homeostat-warm", daemon=True).start()


def known_packages() -> dict[str, JsonValue] | None:
    """Return the package versions where they have been read."""
    return _Known.packages


def known_revision() -> dict[str, JsonValue] | None:
    """Return the source's revision where it has been read."""
    return _Known.revision


def packages() -> dict[str, JsonValue]:
    """Return the installed distributions' versions by name."""
    found: dict[str, JsonValue] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name] = distribution.version
    return dict(sorted(found.items()))


def revision(folder: Path, *, with_diff: bool) -> dict[str, JsonValue]:
    """Return the checkout's commit, whether it is changed, and (if asked for) the diff.

    `{"unavailable": reason}` where the folder is no git checkout or git is missing.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no").splitlines()
        answer: dict[str, JsonValue] = {
            "commit": commit,
            "changed": [line[3:] for line in changed[:MAX_CHANGED]],
        }
        if with_diff:
            answer["diff"] = _git(folder, "diff", "HEAD")[:LONGEST_DIFF]
            answer["last_commits"] = list(_git(folder, "log", "--oneline", "-5").splitlines())
    except (OSError, subprocess.SubprocessError) as error:
        return {"unavailable": f"{type(error).__name__}: git could not read {folder}"}
    return answer


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        check=True,
        timeout=GIT_TIMEOUT_S,
        text=True,
        errors="replace",
    )
    return done.stdout


def process() -> dict[str, JsonValue]:
    """Return this process's resources: bytes, seconds and counts."""
    me = psutil.Process()
    with me.oneshot():
        memory, times = me.memory_info(), me.cpu_times()
        return {
            "pid": me.pid,
            "parent": me.ppid(),
            "program": Path(sys.argv[0]).name if sys.argv else "",
            "rss_bytes": memory.rss,
            "cpu_s": round(times.user + times.system, 3),
            "threads": me.num_threads(),
            "open_files": me.num_fds(),
            "up_s": round(time.time() - me.create_time(), 1),
            "python": platform.python_version(),
        }


def host() -> dict[str, JsonValue]:
    """Return the host's resources; the disk is the state folder's."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    folder = settings().state_dir
    disk = psutil.disk_usage(str(folder if folder.exists() else Path.cwd()))
    return {
        "name": socket.gethostname(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": os.cpu_count(),
        "load": list(os.getloadavg()),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "swap_used_bytes": swap.used,
        "disk_free_bytes": disk.free,
        "oom_kills": oom_kills(),
    }


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed for want of memory since it started.

    None where the kernel does not say (it is Linux's `oom_kill` in /proc/vmstat, since 4.13).
    """
    try:
        with Path("/proc/vmstat").open() as file:
            return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, StopIteration):
        return None


def configuration() -> dict[str, JsonValue]:
    """Return the settings in force and the environment; the redactor takes out what is secret."""
    return {
        "settings": settings().model_dump(mode="json"),
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith((PREFIX, "CELERY", "PYTHON", "LANG", "LC_", "TZ", "PATH", "VIRTUAL"))
        },
    }

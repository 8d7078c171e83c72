"""How a run is kept apart: bubblewrap where it works, resource limits alone where it does not."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from homeostat.repair.sandbox.interpreter import Interpreter
from homeostat.repair.sandbox.limits import Limits

TREE = "/run/homeostat/tree"
PATCH = "/run/homeostat/patch"
TOOLS = "/run/homeostat/tools"
#: Readable system folders; /home, /root, /var, /opt, /srv and the sockets in /run are not there.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_ETC = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
)


class Isolation(StrEnum):
    """The kinds of isolation, best first."""

    BUBBLEWRAP = "bubblewrap"
    LIMITS_ONLY = "limits only"


@lru_cache(maxsize=1)
def detect_isolation() -> Isolation:
    """Return what works on this host; bubblewrap is tried, not only looked for."""
    program = shutil.which("bwrap")
    if program is None:
        return Isolation.LIMITS_ONLY
    trial = [program, *_namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        done = subprocess.run(trial, check=False, capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return Isolation.LIMITS_ONLY
    return Isolation.BUBBLEWRAP if done.returncode == 0 else Isolation.LIMITS_ONLY


def sandbox_uid() -> int | None:
    """Return the user that the target runs as, None to keep the present one.

    A process limit does not bind root, and it counts all processes of a user: so root gives each
    run a number of its own that no account has.
    """
    if os.geteuid() != 0:
        return None
    return 2_000_000 + secrets.randbelow(1_000_000)


def protections(isolation: Isolation, limits: Limits, *, filtered: bool) -> tuple[str, ...]:
    """Name the protections that are on, for the record of a proof."""
    always = (
        f"CPU limit {limits.cpu_s} s",
        f"time limit {limits.wall_s:g} s",
        f"memory limit {limits.memory_bytes >> 20} MiB",
        f"process limit {limits.processes}",
        f"file size limit {limits.file_bytes >> 20} MiB",
        "clean environment",
        "private copy of the tree",
    )
    if isolation is Isolation.LIMITS_ONLY:
        return always
    return (
        *always,
        "no network",
        "read-only system",
        f"private file system of {limits.disk_bytes >> 20} MiB",
        "own process, IPC and host name spaces",
        "unprivileged user",
        "no new privileges",
        *(("system call filter",) if filtered else ()),
    )


def _namespaces() -> list[str]:
    shared = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    # Root needs the initial user namespace to become the run's own user afterwards.
    if os.geteuid() == 0:
        return shared
    return [*shared, "--unshare-user", "--disable-userns"]


def bubblewrap_command(
    repository: Path,
    tree: Path,
    patch: Path,
    tools: Path,
    interpreter: Interpreter,
    limits: Limits,
    seccomp_fd: int | None,
    extra_readable: Sequence[Path] = (),
) -> list[str]:
    """Return the `bwrap …` words that precede the command to run."""
    size = str(limits.disk_bytes)
    words = ["bwrap", "--die-with-parent", "--new-session", *_namespaces()]
    for folder in _SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            words += ["--ro-bind", folder, folder]
    for file in _ETC:
        words += [*_parents(Path(file)), "--ro-bind-try", file, file]
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--perms", "1777", "--size", size, "--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
    words += ["--perms", "1777", "--size", str(limits.disk_bytes // 8), "--tmpfs", "/dev/shm"]  # noqa: S108 - as above
    words += _parents(repository)
    words += ["--perms", "0777", "--size", size, "--tmpfs", str(repository)]
    for folder_path in (*interpreter.roots, *extra_readable):
        if not str(folder_path).startswith(("/usr/", "/lib/")) and not _within(
            repository, folder_path
        ):
            for part in _importable(folder_path, interpreter):
                words += [*_parents(part), "--ro-bind", str(part), str(part)]
    words += [*_parents(Path(TREE)), "--ro-bind", str(tree), TREE, "--ro-bind", str(patch), PATCH]
    words += ["--ro-bind", str(tools), TOOLS, "--remount-ro", "/", "--chdir", "/"]
    if seccomp_fd is not None:
        words += ["--seccomp", str(seccomp_fd)]
    return [*words, "--"]


def _parents(folder: Path) -> list[str]:
    """Make the folders above `folder` passable: bubblewrap would make them for their owner only."""
    words = []
    for parent in reversed(folder.parents[:-1]):
        if str(parent) != "/tmp":  # noqa: S108 - it has been made, writable for all
            words += ["--perms", "0755", "--dir", str(parent)]
    return words


def _importable(folder: Path, interpreter: Interpreter) -> list[Path]:
    """Return what is to be seen of a folder: of an editable install only its modules.

    Such a folder is a whole project, which may hold keys and state beside its sources.
    """
    if folder in {interpreter.prefix, interpreter.base_prefix} or folder.name.endswith("-packages"):
        return [folder]
    if (folder / "pyvenv.cfg").is_file() or folder.name.startswith("homeostat-pin-"):
        return [folder]
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix == ".py" or (os.access(path, os.X_OK) and (path / "__init__.py").is_file())
    ]


def _within(repository: Path, folder: Path) -> bool:
    """Whether binding `folder` would uncover the repository itself (an editable install).

    A virtual environment inside the repository is no part of the copied tree and stays bound.
    """
    if (folder / "pyvenv.cfg").is_file() or folder.name == "site-packages":
        return False
    return folder == repository or repository in folder.parents or folder in repository.parents

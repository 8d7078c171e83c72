"""Code that was mended on disk reaches the processes that run it: each renews itself.

Whoever commits a fix writes a mark beside the repository's git data. A process that runs code
from there looks at the mark, ends as it would at a stop, and starts again in its own place under
the same process id, with the same command and the code as it is now. So a worker is renewed
whoever started it: the stack, a terminal, systemd, a container.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from homeostat.clock import from_iso, utcnow

#: The mark's file name, in the repository's git folder.
MARK = "homeostat-revision.json"
#: Beside it: who could not load the code of the mark's commit.
REFUSED = "homeostat-refused.json"
#: And a file for each process that follows the code, named by its pid: since when it has read it.
FOLLOWERS = "homeostat-followers"
#: Seconds between two looks; a look is one `stat`.
LOOK_EVERY_S = 1.0
#: How long the trial of the new code may take, in seconds.
LONGEST_LOAD_S = 60.0
#: A mark older than this is history: a process that starts later did not start because of it.
FRESH_S = 300.0


@dataclass(frozen=True)
class Revision:
    """The commit by which code was last mended, and when its files were in place."""

    commit: str
    at: datetime


def mark(git_folder: Path, commit: str) -> None:
    """Say that the files of a commit are in place; written whole or not at all."""
    _write(git_folder / MARK, {"commit": commit, "at": utcnow().isoformat()})


def _write(path: Path, content: Mapping[str, str | float]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(content, file)
    Path(file.name).replace(path)


def revision(git_folder: Path) -> Revision | None:
    """Return the mark, None where no fix was ever committed or the mark cannot be read."""
    try:
        found = json.loads((git_folder / MARK).read_text())
        return Revision(str(found["commit"]), from_iso(str(found["at"])))
    except (OSError, ValueError, KeyError):
        return None


def git_folder_of(path: Path) -> Path | None:
    """Return the git folder of the checkout that holds a file or folder, None outside one."""
    for folder in (path, *path.parents):
        found = folder / ".git"
        if found.is_dir():
            return found
        if found.is_file():
            # A worktree's `.git` is a file that names its folder.
            named = found.read_text().removeprefix("gitdir:").strip()
            return (folder / named).resolve()
    return None


def git_folders(modules: Iterable[str]) -> set[Path]:
    """Return the git folders of the checkouts from which these modules were loaded."""
    files = (getattr(sys.modules.get(name), "__file__", None) for name in set(modules))
    found = {git_folder_of(Path(file).resolve()) for file in files if file}
    return {folder for folder in found if folder is not None}


def runs_from(repository: Path) -> bool:
    """Whether this process runs code of a repository: a module, or a place it imports from."""
    root = str(repository.resolve()) + os.sep
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    places = [str(Path(place).resolve()) + os.sep for place in sys.path if place]
    return any(name.startswith(root) for name in (*files, *places))


def refusal(git_folder: Path, commit: str) -> str:
    """Return who could not load the code of a commit, and why; empty where nobody said so."""
    try:
        found = json.loads((git_folder / REFUSED).read_text())
    except (OSError, ValueError):
        return ""
    return str(found["why"]) if found.get("commit") == commit else ""


def lagging(git_folder: Path, landed_at: datetime) -> list[int]:
    """Return the living processes that follow this code and read it before then, by their pids."""
    found = []
    for file in (git_folder / FOLLOWERS).glob("*.json"):
        try:
            told = json.loads(file.read_text())
            born = psutil.Process(int(file.stem)).create_time()
        except (OSError, ValueError, psutil.NoSuchProcess):
            file.unlink(missing_ok=True)
            continue
        if abs(born - told["born"]) < 1 and from_iso(told["since"]) < landed_at:
            found.append(int(file.stem))
    return found


class Renewal:
    """Watches marks for one process, and renews the process when one changes.

    Code that does not load is not taken up: the process stays what it is and says so beside the
    mark, and whoever watches the fix takes it back.
    """

    def __init__(
        self, folders: Iterable[Path], since: datetime, modules: Iterable[str] = ()
    ) -> None:
        """Take the git folders, when this process began to read its code, and what has to load."""
        self._since = since
        self._modules = sorted({name for name in modules if name != "__main__"})
        self._seen: dict[Path, tuple[int, int] | None] = {}
        for folder in folders:
            seen = revision(folder)
            late = seen is not None and seen.at > since
            self._seen[folder] = None if late else _stamp(folder)

    def start(self) -> None:
        """Watch from a thread of its own, which holds no lock that a fork could copy."""
        born = psutil.Process().create_time()
        for folder in self._seen:
            # No fix lands where nothing can be written, so there is nothing to follow either.
            with contextlib.suppress(OSError):
                (folder / FOLLOWERS).mkdir(exist_ok=True)
                file = folder / FOLLOWERS / f"{os.getpid()}.json"
                _write(file, {"since": self._since.isoformat(), "born": born})
        if self._seen:
            threading.Thread(target=self._watch, name="renewal", daemon=True).start()

    def _watch(self) -> None:
        while not (self.outdated() and self.loads()):
            time.sleep(LOOK_EVERY_S)
        atexit.register(_start_again)
        # The polite stop: what is being worked on is finished first.
        os.kill(os.getpid(), signal.SIGTERM)

    def outdated(self) -> bool:
        """Whether a fix has landed in code that this process read before."""
        return any(_stamp(folder) != seen for folder, seen in self._seen.items())

    def loads(self) -> bool:
        """Try the new code in a process of its own; where it does not load, say so and stay."""
        tried = {folder: (_stamp(folder), revision(folder)) for folder in self._seen}
        program = "; ".join(f"import {name}" for name in self._modules)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(place or "." for place in sys.path)}
        try:
            done = subprocess.run(
                [sys.executable, "-c", program], check=False, capture_output=True, env=env,
                timeout=LONGEST_LOAD_S,
            )  # fmt: skip
            why = "" if done.returncode == 0 else done.stderr.decode(errors="replace")[-500:]
        except subprocess.TimeoutExpired:
            why = f"it was not loaded after {LONGEST_LOAD_S:.0f} s"
        if not why:
            return True
        for folder, (stamp, seen) in tried.items():
            if seen is not None and stamp != self._seen[folder]:
                said = f"process {os.getpid()} cannot load the new code: {why.strip()}"
                _write(folder / REFUSED, {"commit": seen.commit, "why": said})
            self._seen[folder] = stamp
        return False

    def running(self) -> list[Revision]:
        """Return the fixes that landed lately and that this process runs."""
        now = utcnow()
        marks = (revision(folder) for folder in self._seen)
        return [one for one in marks if one and (now - one.at).total_seconds() < FRESH_S]


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        seen = (folder / MARK).stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ino


def _start_again() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # its own words

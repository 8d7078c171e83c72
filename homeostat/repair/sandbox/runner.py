"""One run of a command on a patched copy of a tree, and what was seen of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from homeostat.repair.sandbox.interpreter import Interpreter
from homeostat.repair.sandbox.isolation import (
    PATCH,
    TOOLS,
    TREE,
    Isolation,
    bubblewrap_command,
    detect_isolation,
    protections,
    sandbox_uid,
)
from homeostat.repair.sandbox.limits import Limits
from homeostat.repair.sandbox.patch import lay_patch
from homeostat.repair.sandbox.ready import MODULE, Ready
from homeostat.repair.sandbox.seccomp import seccomp_filter
from homeostat.repair.sandbox.watching import Run, SandboxError, Watched

_TOOLS = Path(__file__).parent / "inside"
_LAUNCHER = "launcher.py"
#: The variable that names the folder of the recorder, for a shell line that sets PYTHONPATH.
TOOLS_PATH = "HOMEOSTAT_TOOLS_PATH"
_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})


@dataclass(frozen=True)
class Sandbox:
    """Runs commands on copies of `tree`, which they see at `repository`'s own path.

    Inside, the copy lies on a file system of its own in memory: whatever a run writes is gone
    with it, so each run starts from the same state and none can touch the host's disk.
    """

    repository: Path
    tree: Path
    interpreter: Interpreter
    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = field(default_factory=detect_isolation)

    @property
    def protections(self) -> tuple[str, ...]:
        """The names of the protections that are on."""
        return protections(self.isolation, self.limits, filtered=seccomp_filter() is not None)

    def run(
        self,
        command: Sequence[str],
        *,
        changes: Mapping[str, str | None] | None = None,
        env: Mapping[str, str] | None = None,
        wall_s: float | None = None,
        readable: Sequence[Path] = (),
    ) -> Run:
        """Run `command` in the repository's root with `changes` applied (None deletes a file)."""
        changes = changes or {}
        with tempfile.TemporaryDirectory(prefix="homeostat-run-") as scratch:
            patch = Path(scratch) / "patch"
            patch.mkdir(mode=0o755)
            Path(scratch).chmod(0o755)
            deleted = lay_patch(self.tree, changes, patch)
            if self.isolation is Isolation.BUBBLEWRAP:
                return self._run_isolated(command, patch, deleted, env or {}, wall_s, readable)
            return self._run_limited(command, Path(scratch), deleted, env or {}, wall_s)

    def _order(
        self,
        command: Sequence[str],
        uid: int | None,
        copies: list[tuple[str, str]],
        root: Path,
        deleted: list[str],
        folders: str | None = None,
    ) -> str:
        limits = self.limits
        return json.dumps(
            {
                "uid": uid,
                "folders": folders,
                "copies": copies,
                "deleted": [str(root / path) for path in deleted],
                "cwd": str(root),
                "command": list(command),
                "limits": {
                    "RLIMIT_CPU": limits.cpu_s,
                    "RLIMIT_AS": limits.memory_bytes,
                    "RLIMIT_NPROC": limits.processes + self._counted_already(uid),
                    "RLIMIT_FSIZE": limits.file_bytes,
                    "RLIMIT_NOFILE": limits.open_files,
                    "RLIMIT_CORE": 0,
                },
            }
        )

    def _counted_already(self, uid: int | None) -> int:
        """Return how many of the user's processes outside count towards the run's limit.

        None where the run has a user of its own. In a user namespace of its own it is counted
        apart since Linux 5.14 (per-namespace ucounts); before, all processes of the user count.
        """
        if uid is not None:
            return 0
        if self.isolation is Isolation.BUBBLEWRAP and _kernel() >= (5, 14):
            return 0
        return _own_processes()

    def _environment(self, root: Path, tools: str, env: Mapping[str, str]) -> dict[str, str]:
        temporary = "/tmp" if self.isolation is Isolation.BUBBLEWRAP else str(root.parent)  # noqa: S108 - the sandbox's own
        paths = [f"{tools}/path", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            "PATH": f"{self.interpreter.executable.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": f"{temporary}/home",
            "TMPDIR": f"{temporary}/scratch",
            "USER": "sandbox",
            "LOGNAME": "sandbox",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONUNBUFFERED": "1",
            "HOMEOSTAT_SANDBOX": "1",
            TOOLS_PATH: f"{tools}/path",
            **env,
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def _run_isolated(
        self,
        command: Sequence[str],
        patch: Path,
        deleted: list[str],
        env: Mapping[str, str],
        wall_s: float | None,
        readable: Sequence[Path],
    ) -> Run:
        copies = [(TREE, str(self.repository)), (PATCH, str(self.repository))]
        order = self._order(command, sandbox_uid(), copies, self.repository, deleted)
        return self._start(order, patch, env, readable).wait(wall_s)

    def ready(self, env: Mapping[str, str]) -> Ready | None:
        """Start a sandbox that waits for one run of pytest; None where bubblewrap is missing.

        `env` is what the command sets of itself: the interpreter starts with it. Raises
        SandboxError where it cannot be started.
        """
        if self.isolation is not Isolation.BUBBLEWRAP:
            return None

        def start(patch: Path, reading: int) -> Watched:
            words = [str(self.interpreter.executable), "-m", MODULE, TREE, str(reading)]
            order = self._order(words, sandbox_uid(), [], self.repository, [], folders=TREE)
            return self._start(order, patch, env, (), [reading])

        return Ready(self.tree, self.repository, start)

    def run_ready(
        self,
        ready: Ready,
        command: Sequence[str],
        changes: Mapping[str, str | None],
        env: Mapping[str, str],
        wall_s: float | None,
    ) -> Run:
        """Do in a waiting sandbox what `run` does in a new one."""
        return ready.run(command, changes, self._environment(self.repository, TOOLS, env), wall_s)

    def _start(
        self,
        order: str,
        patch: Path,
        env: Mapping[str, str],
        readable: Sequence[Path],
        keep: Sequence[int] = (),
    ) -> Watched:
        """Start the launcher in bubblewrap, with its order."""
        compiled = seccomp_filter()
        with contextlib.ExitStack() as stack:
            seccomp_fd = None
            if compiled is not None:
                filter_file = stack.enter_context(tempfile.TemporaryFile())
                filter_file.write(compiled)
                filter_file.seek(0)
                seccomp_fd = filter_file.fileno()
            words = bubblewrap_command(
                self.repository,
                self.tree,
                patch,
                _TOOLS,
                self.interpreter,
                self.limits,
                seccomp_fd,
                readable,
            )
            words += [str(self.interpreter.executable), "-I", "-S", f"{TOOLS}/{_LAUNCHER}", order]
            return Watched(
                words,
                self._environment(self.repository, TOOLS, env),
                Path("/"),
                [*keep, *([] if seccomp_fd is None else [seccomp_fd])],
                self.limits,
            )

    def _run_limited(
        self,
        command: Sequence[str],
        scratch: Path,
        deleted: list[str],
        env: Mapping[str, str],
        wall_s: float | None,
    ) -> Run:
        root = scratch / "tree"
        shutil.copytree(self.tree, root, symlinks=True)
        copies = [(str(scratch / "patch"), str(root))]
        order = self._order(command, None, copies, root, deleted)
        words = [str(self.interpreter.executable), "-I", "-S", str(_TOOLS / _LAUNCHER), order]
        mapped = {
            name: value.replace(str(self.repository), str(root)) for name, value in env.items()
        }
        environment = self._environment(root, str(_TOOLS), mapped)
        run = Watched(words, environment, root, [], self.limits).wait(wall_s)
        return _renamed(run, str(root), str(self.repository))


def _renamed(run: Run, inside: str, outside: str) -> Run:
    """Return `run` as if it had happened at the repository's own path."""
    records = json.loads(json.dumps(run.records).replace(inside, outside))
    return Run(
        run.returncode,
        run.stdout.replace(inside, outside),
        run.stderr.replace(inside, outside),
        run.seconds,
        tuple(records),
        run.stopped,
    )


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _own_processes() -> int:
    uid = os.getuid()
    count = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == uid:
            count += process.info["num_threads"] or 1
    return count


def shell_words(command: str, interpreter: Interpreter) -> tuple[list[str], dict[str, str]]:
    """Split a command line into its words and the variables that it sets in front.

    Its interpreter is written out in full; a line with shell operators goes to `/bin/sh`.
    """
    words = shlex.split(command)
    if len(words) == 3 and Path(words[0]).name in _SHELLS and words[1] == "-c":
        return [words[0], "-c", _beside_ours(words[2])], {}
    unquoted = re.sub(r"'[^']*'", "''", command)
    if re.search(r"[$`]", unquoted) or re.search(r"[|&;<>]", re.sub(r'"[^"]*"', '""', unquoted)):
        return ["/bin/sh", "-c", _beside_ours(command)], {}
    env = {}
    if words[:1] == ["env"] and "=" in "".join(words[1:2]):
        # What it would set is set for the run, beside our own and not in place of it.
        words.pop(0)
    while words and "=" in words[0] and words[0].split("=", 1)[0].isidentifier():
        name, value = words.pop(0).split("=", 1)
        env[name] = value
    if words and Path(words[0]).name.startswith("python"):
        words[0] = str(interpreter.executable)
    elif words and Path(words[0]).name in {"pytest", "py.test"}:
        words[:1] = [str(interpreter.executable), "-m", "pytest"]
    if not words:
        raise SandboxError("The command is empty; give the command that fails.")
    return words, env


def _beside_ours(line: str) -> str:
    """Return a shell's line whose PYTHONPATH does not hide our own tools."""
    return re.sub(r"\bPYTHONPATH=", f"PYTHONPATH=${TOOLS_PATH}:", line)


__all__ = ["Run", "Sandbox", "SandboxError", "shell_words"]

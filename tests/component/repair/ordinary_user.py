"""Running a command as an ordinary user, on a machine whose tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from homeostat.repair.sandbox.interpreter import inspect_interpreter

#: The user `nobody` of every Linux distribution.
NOBODY = "65534"
ROOT = Path(__file__).parents[3]


def missing() -> str:
    """Return why no ordinary user can be played here, empty where one can."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user already"
    absent = [name for name in ("bwrap", "setpriv") if shutil.which(name) is None]
    return f"{absent[0]} is not installed" if absent else ""


def as_ordinary_user(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the words as `nobody`, with `folder` as its home; it may read what all may, and Python.

    An interpreter below a folder that only root may enter is shown through a mount of its own.
    """
    folder.chmod(0o777)
    view = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/"]
    interpreter = inspect_interpreter(Path(sys.executable))
    hidden: list[Path] = []
    for part in (*interpreter.roots, interpreter.executable.resolve().parents[1], ROOT):
        closed = next((p for p in reversed(part.parents) if not p.stat().st_mode & 0o001), None)
        if closed is not None:
            if closed not in hidden:
                view += ["--perms", "0755", "--tmpfs", str(closed)]
                hidden.append(closed)
            for parent in reversed(part.parents):
                if parent.is_relative_to(closed) and parent != closed:
                    view += ["--perms", "0755", "--dir", str(parent)]
            view += ["--ro-bind", str(part), str(part)]
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    become += ["--bounding-set=-all", "--inh-caps=-all"]
    env = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={folder}", f"TMPDIR={folder}"]
    return subprocess.run(
        [*view, "--cap-add", "ALL", "--", *become, *env, *words],
        check=False, capture_output=True, text=True, timeout=240, cwd=ROOT,
    )  # fmt: skip

"""The target's Python: which one its command means, and which folders it reads.

Nothing of the target is executed to find out: the interpreter is asked with `-I -S`, and the
`.pth` files of its environment are read as text.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_ASK = (
    "import sys, json; print(json.dumps([sys.executable, sys.base_prefix, "
    "list(sys.version_info[:2]), list(sys.builtin_module_names), "
    "list(getattr(sys, 'stdlib_module_names', []))]))"
)


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and its environment; `roots` are the folders that it must be able to read."""

    executable: Path
    prefix: Path
    base_prefix: Path
    version: tuple[int, int]
    stdlib: frozenset[str]
    site_packages: tuple[Path, ...]

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders to make readable in the sandbox, without duplicates."""
        found = [self.prefix, self.base_prefix, *self.site_packages]
        return tuple(dict.fromkeys(path for path in found if path.is_dir()))

    def has_module(self, name: str) -> bool:
        """Whether the environment holds a top-level module or package of that name."""
        return any(
            (folder / name).is_dir() or (folder / f"{name}.py").is_file()
            for folder in self.site_packages
        )


@lru_cache(maxsize=16)
def inspect_interpreter(executable: Path) -> Interpreter:
    """Ask `executable` for its facts; raises OSError or CalledProcessError where it cannot run."""
    answer = subprocess.run(
        [str(executable), "-I", "-S", "-c", _ASK],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    real, base, version, builtin, stdlib = json.loads(answer.stdout)
    real_path, base_prefix = Path(real), Path(base)
    prefix = base_prefix
    if (real_path.parent.parent / "pyvenv.cfg").is_file():
        prefix = real_path.parent.parent
    folder = f"lib/python{version[0]}.{version[1]}/site-packages"
    sites = [prefix / folder]
    config = prefix / "pyvenv.cfg"
    if prefix == base_prefix or (
        config.is_file() and "include-system-site-packages = true" in config.read_text()
    ):
        sites += [base_prefix / folder, Path("/usr/lib/python3/dist-packages")]
    sites = [site for site in dict.fromkeys(sites) if site.is_dir()]
    return Interpreter(
        real_path,
        prefix,
        base_prefix,
        (version[0], version[1]),
        frozenset(stdlib) | frozenset(builtin),
        (*sites, *_path_files(sites)),
    )


def _path_files(sites: list[Path]) -> list[Path]:
    """Return the folders that `.pth` files add (editable installs)."""
    found = []
    for site in sites:
        for file in sorted(site.glob("*.pth")):
            for line in file.read_text(errors="replace").splitlines():
                text = line.strip()
                if text and not text.startswith(("#", "import ", "import\t")):
                    path = (site / text).resolve()
                    if path.is_dir():
                        found.append(path)
    return found


def find_interpreter(command: str, cwd: Path) -> Interpreter:
    """Return the Python that `command` (a shell-like line) runs with.

    The first word that names an interpreter, or a script with a Python shebang, decides, whatever
    goes before it (`cd tests &&`, `timeout 60`); this process's own interpreter is the fall-back,
    also where the named one has no pytest although the command asks for it.
    """
    own = inspect_interpreter(Path(sys.executable))
    for word in _words(command):
        found = _interpreter_of(word, cwd)
        if found is None:
            continue
        if "pytest" in command and not found.has_module("pytest") and own.has_module("pytest"):
            return own
        return found
    return own


def _words(command: str) -> Iterator[str]:
    """Yield the words of a line, and of the lines that it hands to a shell."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    before = ""
    for word in lexer:
        if before == "-c":
            with contextlib.suppress(ValueError):
                yield from shlex.split(word)
        yield word
        before = word


def _interpreter_of(word: str, cwd: Path) -> Interpreter | None:
    path = shutil.which(str(cwd / word) if "/" in word else word)
    if path is None:
        return None
    executable = Path(path)
    if not executable.name.startswith(("python", "pypy")):
        with executable.open("rb") as file:
            first = file.readline(256).decode(errors="replace").strip()
        if not first.startswith("#!") or "python" not in first:
            return None
        parts = first[2:].split()
        name = parts[-1] if parts[0].endswith("env") else parts[0]
        located = shutil.which(name)
        if located is None:
            return None
        executable = Path(located)
    try:
        return inspect_interpreter(executable)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None

"""A private copy of a repository's files: the state that failed, frozen while it is mended."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from homeostat.errors import HomeostatError

_SKIPPED_FOLDERS = {
    ".git", ".hg", ".tox", ".nox", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".idea", ".vscode",
}  # fmt: skip
_SECRET_NAMES = (".env", ".netrc", ".pypirc", "id_rsa", "id_ed25519", "secret.key")
_SECRET_SUFFIXES = (".pem", ".key", ".p12", ".pfx", ".sqlite3", ".sqlite3-wal")
_LARGEST_FILE = 20 * 1024 * 1024


class RepositoryError(HomeostatError):
    """The repository cannot be used; give a folder that holds a git checkout."""

    exit_code = 66


class Tree:
    """The files of a repository as they stood at the moment of the copy.

    What is ignored by git is copied too where it may be needed to import the package (generated
    version files); environments, caches, large files and files that look like secrets are not.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[str, str | None] = {}

    @classmethod
    def copy(cls, repository: Path, destination: Path) -> Tree:
        """Copy `repository` to the new folder `destination`.

        Whoever can come to that folder can read the copy: the sandbox has a user of its own.
        """
        if not repository.is_dir():
            raise RepositoryError(f"There is no folder {repository}; give a git checkout.")
        for source, inside in _files(repository):
            target = destination / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
            if not target.is_symlink():
                target.chmod(target.stat().st_mode | 0o444)
        destination.mkdir(exist_ok=True)
        for folder, _, _ in os.walk(destination):
            Path(folder).chmod(0o755)
        return cls(destination)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Paths of all files, relative, sorted."""
        return tuple(
            sorted(
                Path(folder, name).relative_to(self.root).as_posix()
                for folder, _, names in os.walk(self.root)
                for name in names
            )
        )

    @cached_property
    def python_files(self) -> tuple[str, ...]:
        """Paths of the Python sources."""
        return tuple(path for path in self.files if path.endswith(".py"))

    @cached_property
    def folders(self) -> frozenset[str]:
        """Paths of the folders that hold a Python source, at any depth."""
        found: set[str] = set()
        for path in self.python_files:
            found |= {parent.as_posix() for parent in Path(path).parents}
        return frozenset(found - {"."})

    @cached_property
    def bare_folders(self) -> frozenset[str]:
        """Paths of the folders that hold any file, at any depth."""
        return frozenset(
            parent.as_posix() for path in self.files for parent in Path(path).parents
        ) - {"."}

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self.root / path).is_file()

    def read(self, path: str) -> str | None:
        """Return a file's text with its line ends as they are; None where missing or not text."""
        if path not in self._texts:
            try:
                with (self.root / path).open(encoding="utf-8", newline="") as file:
                    self._texts[path] = file.read()
            except (OSError, UnicodeDecodeError):
                self._texts[path] = None
        return self._texts[path]

    def text(self, path: str) -> str:
        """Return a file's text; raises RepositoryError where it cannot be read."""
        text = self.read(path)
        if text is None:
            raise RepositoryError(f"The file {path} cannot be read as text.")
        return text

    def patched(self, changes: Mapping[str, str | None], destination: Path) -> Tree:
        """Return a copy with `changes` applied; None deletes a file."""
        shutil.copytree(self.root, destination, symlinks=True)
        for path, text in changes.items():
            target = destination / path
            if text is None:
                target.unlink(missing_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")
        return Tree(destination)


def digest(text: str | None) -> str:
    """Return the SHA-256 of a file's text; a missing file has the empty digest."""
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()


def _files(repository: Path) -> Iterator[tuple[Path, Path]]:
    for folder, folders, names in os.walk(repository):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED_FOLDERS
            # What belongs to another user, such as a server's data, is none of the sources.
            and os.access(here / name, os.R_OK | os.X_OK)
            and not (here / name / "pyvenv.cfg").is_file()
            and not (here / name).is_symlink()
        ]
        for name in names:
            source = here / name
            if name.startswith(_SECRET_NAMES) or name.endswith((*_SECRET_SUFFIXES, ".pyc")):
                continue
            if source.is_symlink() and not source.resolve().is_relative_to(repository):
                continue
            if not os.access(source, os.R_OK):
                continue
            if not source.is_file() or source.stat().st_size > _LARGEST_FILE:
                continue
            yield source, source.relative_to(repository)

"""What a repository's version history knows: who removed a name, and what stood there before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from homeostat.repair.line_difference import opcodes
from homeostat.repair.tree import Tree

#: The working tree's difference from HEAD counts as the newest change.
UNCOMMITTED = "uncommitted"


@dataclass(frozen=True)
class FileChange:
    """One file in one commit: its text before and after (None: it did not exist)."""

    commit: str
    path: str
    before: str | None
    after: str | None
    moved_to: str | None = None


@dataclass(frozen=True)
class Hunk:
    """One replaced block: `old` stood there before the commit, `new` after it (line lists)."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    start: int
    """Index of the first line of `new` in the text after the commit."""


def git(repository: Path, *words: str, check: bool = False) -> str | None:
    """Run git and return its output; None where it failed (raises instead with `check`)."""
    done = subprocess.run(
        ["git", "-C", str(repository), *words],
        check=check,
        capture_output=True,
        timeout=60,
    )
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


class History:
    """Reads the history of `repository`; `tree` is the present state, uncommitted work included."""

    def __init__(self, repository: Path, tree: Tree) -> None:
        self._repository = repository
        self._tree = tree
        self.head = (git(repository, "rev-parse", "--verify", "-q", "HEAD") or "").strip()

    @property
    def present(self) -> bool:
        """Whether there is any commit."""
        return bool(self.head)

    @lru_cache(maxsize=512)  # noqa: B019 - the object lives as long as one repair
    def blob(self, commit: str, path: str) -> str | None:
        """Return a file's text in a commit, None where it did not exist."""
        prefix = (git(self._repository, "rev-parse", "--show-prefix") or "").strip()
        done = subprocess.run(
            ["git", "-C", str(self._repository), "show", f"{commit}:{prefix}{path}"],
            check=False,
            capture_output=True,
            timeout=60,
        )
        if done.returncode != 0:
            return None
        try:
            return done.stdout.decode()
        except UnicodeDecodeError:
            return None

    def commits_removing(self, name: str, limit: int = 6) -> list[str]:
        """Return commits that changed how often `name` occurs, newest first (`git log -S`)."""
        return self._commits("-S", name, "--", "*.py", limit=limit)

    def commits_touching(self, path: str, limit: int = 6) -> list[str]:
        """Return commits that touched a path, newest first."""
        return self._commits("--", path, limit=limit)

    def _commits(self, *words: str, limit: int) -> list[str]:
        if not self.present:
            return []
        listed = git(self._repository, "log", f"-n{limit}", "--no-merges", "--format=%H", *words)
        return (listed or "").split()

    def uncommitted(self) -> list[str]:
        """Return the paths whose working copy differs from HEAD, deleted and new ones too."""
        if not self.present:
            return []
        listed = git(
            self._repository, "-c", "core.quotePath=false", "diff", "--name-only", "--relative",
            "HEAD", "--", "*.py",
        )  # fmt: skip
        return (listed or "").splitlines()

    def changes(self, commit: str) -> Iterator[FileChange]:
        """Yield the Python files that a commit changed, moves recognised."""
        if commit == UNCOMMITTED:
            for path in self.uncommitted():
                yield FileChange(commit, path, self.blob("HEAD", path), self._tree.read(path))
            return
        listed = git(
            self._repository, "-c", "core.quotePath=false", "show", "--format=", "--name-status",
            "-M50%", "--relative", commit, "--", "*.py",
        )  # fmt: skip
        for line in (listed or "").splitlines():
            status, *paths = line.split("\t")
            before = self.blob(f"{commit}^", paths[0])
            if status.startswith("R"):
                yield FileChange(commit, paths[0], before, None, paths[1])
                continue
            yield FileChange(commit, paths[0], before, self.blob(commit, paths[0]))

    def tree_at(self, commit: str) -> dict[str, str | None] | None:
        """Return the changes that turn the present Python files into those of a commit."""
        listed = git(
            self._repository, "-c", "core.quotePath=false", "diff", "--name-only", "--relative",
            "--no-renames", commit, "--", "*.py",
        )  # fmt: skip
        if listed is None:
            return None
        return {path: self.blob(commit, path) for path in listed.splitlines()}

    def last_good(self) -> str | None:
        """Return the commit before the present state: HEAD under uncommitted work, else HEAD^."""
        if not self.present:
            return None
        if self.uncommitted():
            return "HEAD"
        return (git(self._repository, "rev-parse", "-q", "--verify", "HEAD^") or "").strip() or None


def hunks(before: str, after: str) -> list[Hunk]:
    """Return the differing blocks of two texts, smallest first by position."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return [
        Hunk(tuple(old[i1:i2]), tuple(new[j1:j2]), j1)
        for tag, i1, i2, j1, j2 in opcodes(old, new)
        if tag != "equal"
    ]


def single_lines(block: Hunk) -> list[Hunk]:
    """Return a block of as many lines before as after line by line, any other block as it is."""
    if len(block.old) != len(block.new):
        return [block]
    return [
        Hunk((old,), (new,), block.start + at)
        for at, (old, new) in enumerate(zip(block.old, block.new, strict=True))
        if old != new
    ]


def undo(present: str, after: str, chosen: Iterable[Hunk]) -> str | None:
    """Put the old side of the chosen hunks back into `present`.

    `after` is the text that the hunks' positions refer to. Returns None where a block has been
    changed since, because a guess there would not be a restore.
    """
    lines, base = present.splitlines(keepends=True), after.splitlines(keepends=True)
    mapping: dict[int, int] = {}
    if present == after:
        mapping = {index: index for index in range(len(base) + 1)}
    else:
        same = [code for code in opcodes(base, lines) if code[0] == "equal"]
        for _, first, last, there, _ in [*same, ("equal", len(base), len(base), len(lines), 0)]:
            for offset in range(last - first + 1):
                mapping.setdefault(first + offset, there + offset)
    for hunk in sorted(chosen, key=lambda item: item.start, reverse=True):
        start = mapping.get(hunk.start)
        if start is None or tuple(lines[start : start + len(hunk.new)]) != hunk.new:
            return None
        lines[start : start + len(hunk.new)] = hunk.old
    return "".join(lines)


def mentions(block: Iterable[str], name: str) -> bool:
    """Whether a block of lines holds `name` as a whole word."""
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    return any(pattern.search(line) for line in block)

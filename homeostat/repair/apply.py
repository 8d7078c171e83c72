"""Applying a patch as a git commit, so that a crash at any moment leaves the repository clean.

The commit is built from objects alone (a private index), files are replaced whole and
atomically, and the branch moves by compare-and-set: either somebody else's commit is on top and
nothing was done, or the patch is in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from homeostat.errors import HomeostatError
from homeostat.repair.tree import Tree, digest
from homeostat.supervision import renewal

_AUTHOR = ("Homeostat", "homeostat@localhost")
#: The trailers by which a fix, and its taking back, are found again after a crash.
REPAIR, TAKEN_BACK = "Homeostat-Repair", "Homeostat-Takes-Back"


class ApplyError(HomeostatError):
    """The patch cannot be applied any more; run the repair again."""

    exit_code = 75


def _git(repository: Path, *words: str, text: str | None = None, index: str = "") -> str:
    name, mail = _AUTHOR
    env = {
        **os.environ,
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
    }
    if index:
        env["GIT_INDEX_FILE"] = index
    done = subprocess.run(
        ["git", "-C", str(repository), *words],
        check=False, capture_output=True, env=env, timeout=120,
        input=None if text is None else text.encode(),
    )  # fmt: skip
    if done.returncode != 0:
        raise ApplyError(
            f"git {words[0]} failed in {repository}: {done.stderr.decode(errors='replace').strip()}"
        )
    return done.stdout.decode(errors="replace").strip()


def apply_changes(
    repository: Path, tree: Tree, changes: Mapping[str, str | None], message: str
) -> str:
    """Write the changes and commit them; returns the commit.

    Raises ApplyError where a file is not what it was when the patch was proven, or where the
    branch moved meanwhile.
    """
    preimages = {path: digest(tree.read(path)) for path in changes}
    return commit_changes(repository, changes, message, preimages=preimages)


def fix_message(
    repair_id: str,
    title: str,
    failure: str,
    *,
    incident_id: str = "",
    approved_by: str = "",
    proof: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the commit message of a fix: title, failure, proof, and trailers to find it by."""
    told = [f"Failure: {failure}"]
    told += [f"Approved by: {approved_by}"] if approved_by else []
    told += ["Proof:", *(f"  {name}: {detail}" for name, detail in proof)] if proof else []
    trailers = [f"{REPAIR}: {repair_id}"]
    trailers += [f"Incident: {incident_id}"] if incident_id else []
    blocks = (title.rstrip(".")[:72], title, "\n".join(told), "\n".join(trailers))
    return "\n\n".join(blocks) + "\n"


def find_commit(repository: Path, trailer: str, repair_id: str) -> str:
    """Return the newest commit that carries the trailer for a repair, or an empty text."""
    return _git(
        repository, "log", "-1", "--format=%H", "--fixed-strings", f"--grep={trailer}: {repair_id}"
    )


def commit_changes(
    repository: Path,
    changes: Mapping[str, str | None],
    message: str,
    *,
    preimages: Mapping[str, str] = MappingProxyType({}),
    repair_id: str = "",
) -> str:
    """Commit file contents on the present branch and write them to the working tree.

    Where a commit carries that repair's id already, it is returned: two workers make one. Raises
    ApplyError where a file is not of the digest that `preimages` says.
    """
    with _locked(repository):
        if repair_id and (known := find_commit(repository, REPAIR, repair_id)):
            return known
        now = Tree(repository)
        for path, old in preimages.items():
            if digest(now.read(path)) != old:
                raise ApplyError(
                    f"{path} has changed since the patch was proven; run the fix again."
                )
        return _commit(repository, changes, message)


@contextlib.contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """Let one process at a time change the repository; a killed one lets go by dying."""
    with _journal(repository).with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _commit(repository: Path, changes: Mapping[str, str | None], message: str) -> str:
    _recover(repository)
    head = _head(repository)
    prefix = _git(repository, "rev-parse", "--show-prefix")
    with tempfile.TemporaryDirectory(prefix="homeostat-index-") as folder:
        index = str(Path(folder) / "index")
        _git(repository, "read-tree", head, index=index)
        for path, text in changes.items():
            full = prefix + path
            if text is None:
                _git(
                    repository,
                    "rm",
                    "--cached",
                    "-q",
                    "-f",
                    "--ignore-unmatch",
                    "--",
                    path,
                    index=index,
                )
                continue
            blob = _git(repository, "hash-object", "-w", "--stdin", text=text)
            mode = _mode(repository, path)
            _git(
                repository, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{full}",
                index=index,
            )  # fmt: skip
        tree = _git(repository, "write-tree", index=index)
    commit = _git(repository, "commit-tree", tree, "-p", head, "-F", "-", text=message)
    journal = _journal(repository)
    write_file(journal, json.dumps({"head": head, "commit": commit, "paths": sorted(changes)}))
    _git(repository, "update-ref", "-m", "homeostat fix", "HEAD", commit, head)
    for path, text in changes.items():
        write_file(repository / path, text)
    _git(repository, "reset", "-q", "--", *changes)
    renewal.mark(journal.parent, commit)
    journal.unlink()
    return commit


def _head(repository: Path) -> str:
    try:
        return _git(repository, "rev-parse", "--verify", "HEAD")
    except ApplyError as error:
        raise ApplyError(
            f"{repository} has no commit yet; make one, so that a fix can be taken back."
        ) from error


def _journal(repository: Path) -> Path:
    folder = Path(_git(repository, "rev-parse", "--absolute-git-dir"))
    return folder / "homeostat-apply.json"


def recover(repository: Path) -> str:
    """Finish, or forget, an application that a crash cut short; returns what was done.

    Once the branch has moved the commit is the truth, and its files are written out; before that
    nothing had been changed.
    """
    try:
        with _locked(repository):
            return _recover(repository)
    except ApplyError:
        return ""


def _recover(repository: Path) -> str:
    journal = _journal(repository)
    if not journal.exists():
        return ""
    written = json.loads(journal.read_text())
    done = "nothing had been changed"
    if _git(repository, "rev-parse", "HEAD") == written["commit"]:
        for path in written["paths"]:
            write_file(repository / path, _content(repository, written["commit"], path))
        with contextlib.suppress(FileNotFoundError):
            (journal.parent / "index.lock").unlink()
        _git(repository, "reset", "-q", "--", *written["paths"])
        renewal.mark(journal.parent, written["commit"])
        done = f"finished {written['commit'][:10]}"
    journal.unlink()
    return done


def _content(repository: Path, commit: str, path: str) -> str | None:
    prefix = _git(repository, "rev-parse", "--show-prefix")
    shown = subprocess.run(
        ["git", "-C", str(repository), "show", f"{commit}:{prefix}{path}"],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    return shown.stdout.decode() if shown.returncode == 0 else None


def _mode(repository: Path, path: str) -> str:
    file = repository / path
    return "100755" if file.is_file() and os.access(file, os.X_OK) else "100644"


def write_file(path: Path, text: str | None) -> None:
    """Replace a file in one step, or remove it; its mode stays."""
    if path.suffix == ".py":
        # Python tells a stale cache by the source's second and size, and a fix may change neither.
        for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            stale.unlink(missing_ok=True)
    if text is None:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(mode)
    Path(name).replace(path)


def revert_commit(repository: Path, commit: str, reason: str, *, repair_id: str = "") -> str:
    """Take a fix back by a new commit that restores what its parent had; returns that commit.

    Where that repair was taken back already, the commit that did is returned. Raises ApplyError
    where a file has changed since, because that change would be lost.
    """
    before = texts_before(repository, commit)
    trailer = f"\n{TAKEN_BACK}: {repair_id}\n" if repair_id else ""
    message = f"Take back fix {commit[:10]}\n\n{reason}\n{trailer}"
    with _locked(repository):
        if repair_id and (known := find_commit(repository, TAKEN_BACK, repair_id)):
            return known
        now = Tree(repository)
        for path in before:
            if now.read(path) != _content(repository, commit, path):
                raise ApplyError(
                    f"{path} has changed since the fix; take {commit[:10]} back by hand."
                )
        return _commit(repository, before, message)


def texts_before(repository: Path, commit: str) -> dict[str, str | None]:
    """Return what the files that a commit changed held before it; None where there was none."""
    listed = _git(
        repository, "diff-tree", "--no-commit-id", "--name-only", "-r", "--relative", commit
    )
    return {path: _content(repository, f"{commit}^", path) for path in listed.splitlines()}

"""A key that the program reads is gone from a configuration file: it comes back.

Where the version history knows the key, its lines are restored; else a key of a similar name is
given its name back. A person decides, because a configuration is a decision of somebody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass, Origin
from homeostat.repair.evidence import SIMILAR, is_test, similarity
from homeostat.repair.history import hunks, mentions, undo
from homeostat.repair.symptom import Kind

SUFFIXES = (".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf")
_MOST_COMMITS = 6
_WHY = "a configuration is a person's decision"


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield configuration files with the missing key."""
    for symptom in case.symptoms:
        key = symptom.name.strip("'\"")
        if symptom.kind is not Kind.MISSING_KEY or not re.fullmatch(r"[\w.-]+", key):
            continue
        for path in case.tree.files:
            if path.endswith(SUFFIXES) and not is_test(path):
                yield from _restored(case, path, key)
                yield from _renamed(case, path, key)


def _restored(case: Case, path: str, key: str) -> Iterator[Candidate]:
    """Undo the newest change of the file that took the key away."""
    present, history = case.tree.read(path), case.history
    if present is None or not history.present:
        return
    commits = history.commits_touching(path, _MOST_COMMITS)
    changes: list[tuple[str | None, str | None]] = [(history.blob("HEAD", path), present)]
    changes += [(history.blob(f"{one}^", path), history.blob(one, path)) for one in commits]
    for old, new in changes:
        if old is None or new is None:
            continue
        chosen = [block for block in hunks(old, new) if mentions(block.old, key)]
        text = undo(present, new, chosen) if chosen else None
        if text is not None and text != present:
            yield _candidate(path, text, key, f"Restore {key!r} in {path}.", Origin.HISTORY, 0.9)
            return


def _renamed(case: Case, path: str, key: str) -> Iterator[Candidate]:
    """Give a key of a similar name, which no source mentions, its name back."""
    text = case.tree.read(path) or ""
    present = dict.fromkeys(re.findall(r"(?m)^\s*[\"']?([\w.-]+)[\"']?\s*[:=]", text))
    alike = [(similarity(other, key), other) for other in present if other != key]
    for score, other in sorted(alike, reverse=True):
        if score < SIMILAR or any(True for _ in case.index.files_with(other)):
            continue
        pattern = re.compile(rf"(?m)^(\s*[\"']?){re.escape(other)}([\"']?\s*[:=])")
        changed = pattern.sub(rf"\g<1>{key}\g<2>", text, count=1)
        title = f"Rename the key {other!r} in {path} back to {key!r}."
        yield _candidate(path, changed, key, title, Origin.CODEMOD, 0.5 * score)
        return


def _candidate(
    path: str, text: str, key: str, title: str, origin: Origin, score: float
) -> Candidate:
    return Candidate(
        strategy="configuration_drift",
        defect=DefectClass.CONFIGURATION_DRIFT,
        title=title,
        changes={path: text},
        origin=origin,
        score=score,
        waits_because=_WHY,
        parameters={"path": path, "key": key},
        atomic=True,
    )

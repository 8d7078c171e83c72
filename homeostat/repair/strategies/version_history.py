"""Restore what stood there: the blocks of a commit that took the missing thing away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from homeostat.repair.callee import family
from homeostat.repair.case import Candidate, Case, DefectClass, Origin
from homeostat.repair.codemods.functions import parses
from homeostat.repair.evidence import is_test
from homeostat.repair.history import (
    UNCOMMITTED,
    FileChange,
    Hunk,
    hunks,
    mentions,
    single_lines,
    undo,
)
from homeostat.repair.symptom import Kind, Symptom

_DEFECTS = {
    Kind.UNEXPECTED_KEYWORD: DefectClass.DROPPED_PARAMETER,
    Kind.SURPLUS_ARGUMENT: DefectClass.DROPPED_PARAMETER,
    Kind.MISSING_ARGUMENT: DefectClass.DROPPED_DEFAULT,
    Kind.ABSTRACT_METHOD: DefectClass.RENAMED_DEFINITION,
    Kind.CANNOT_IMPORT: DefectClass.DROPPED_EXPORT,
    Kind.CIRCULAR: DefectClass.CIRCULAR_IMPORT,
    Kind.NO_MODULE: DefectClass.MOVED_MODULE,
    Kind.NO_PACKAGE: DefectClass.DELETED_INIT,
    Kind.NO_ATTRIBUTE: DefectClass.RENAMED_DEFINITION,
    Kind.UNDEFINED_NAME: DefectClass.DROPPED_IMPORT,
    Kind.NONE_VALUE: DefectClass.MISSING_NONE_GUARD,
    Kind.MISSING_KEY: DefectClass.MISSING_KEY,
    Kind.LENGTH: DefectClass.LENGTH_MISMATCH,
}
_MOST_COMMITS = 8
_MOST_HUNKS = 8


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield restores from the newest change backwards."""
    if not case.history.present:
        return
    symptoms = case.symptoms
    for commit in _commits(case):
        for change in case.history.changes(commit):
            if is_test(change.path) or not change.path.endswith(".py"):
                continue
            for symptom in symptoms:
                yield from _restores(case, change, symptom)
            if not symptoms:
                yield from _whole_file(case, change, None)


def _paths(case: Case) -> list[str]:
    """Return the files that the failure speaks of, nearest first."""
    found: list[str] = []
    for symptom in case.symptoms:
        callee = case.callee(symptom)
        if callee is not None:
            found.append(callee.path)
        found += [item.path for item in family(case.index, _class_of(symptom))]
        owner = symptom.fault.owner
        if owner is not None:
            found += [place.path for place in (owner, *owner.bases) if place.path]
        for dotted in (symptom.subject, symptom.name):
            found += [path for path in [case.index.modules.get(dotted)] if path]
    for fault in case.failure.faults:
        found += [frame.path for frame in reversed(fault.own_frames) if frame.path]
    return [path for path in dict.fromkeys(found) if not is_test(path)]


def _class_of(symptom: Symptom) -> str:
    """Return the class that a message speaks of, whose constructor may stand in no source."""
    return symptom.subject.removesuffix(".__init__").rpartition(".")[2]


def _commits(case: Case) -> list[str]:
    found = [UNCOMMITTED] if case.history.uncommitted() else []
    for symptom in case.symptoms:
        for name in (symptom.name, *symptom.names):
            last = name.strip("'\"").rsplit(".", 1)[-1]
            if re.fullmatch(r"\w+", last):
                found += case.history.commits_removing(last, limit=3)
        if symptom.kind is Kind.NO_MODULE:
            found += case.history.commits_touching(f"*{symptom.name.replace('.', '/')}*", limit=3)
    for path in _paths(case)[:6]:
        found += case.history.commits_touching(path, limit=3)
    return list(dict.fromkeys(found))[:_MOST_COMMITS]


def _restores(case: Case, change: FileChange, symptom: Symptom) -> Iterator[Candidate]:
    present = case.tree.read(change.path)
    if change.before is not None and present is None:
        yield from _file_back(case, change, symptom)
        return
    if change.before is None or change.after is None or present is None:
        return
    blocks = hunks(change.before, change.after)
    finest = [line for block in blocks for line in single_lines(block)]
    for score, wanted in _selections(case, change, symptom):
        # Line by line first: what else the commit did beside it is somebody's work.
        for bonus, parts in ((0.02, finest), (0.0, blocks)):
            chosen = [block for block in parts if wanted(block)]
            spread = sum(wanted(block) for block in blocks)
            if chosen and spread <= _MOST_HUNKS:
                text = undo(present, change.after, chosen)
                if text is not None and parses(text):
                    weight = score + bonus - 0.05 * (spread - 1)
                    yield _candidate(case, change, symptom, text, chosen, weight)
    yield from _whole_file(case, change, symptom)


def _selections(
    case: Case, change: FileChange, symptom: Symptom
) -> Iterator[tuple[float, Callable[[Hunk], bool]]]:
    """Yield ways to choose blocks: inside the definition concerned, by name, by surroundings."""
    ranges = _ranges(case, change.path, symptom)
    names = _names(symptom)

    def near(block: Hunk) -> bool:
        first, last = block.start + 1, block.start + max(1, len(block.new))
        return any(first <= end and last >= start for start, end in ranges)

    def named(block: Hunk) -> bool:
        return any(mentions(block.old, name) for name in names)

    if symptom.kind is Kind.CIRCULAR:
        yield 0.9, lambda block: any("import " in line for line in block.new)
    yield 1.0, lambda block: near(block) and named(block)
    yield 0.95, named
    yield 0.8, near


def _names(symptom: Symptom) -> list[str]:
    """Return the names that a symptom speaks of."""
    names = [name.strip("'\"") for name in (symptom.name, *symptom.names)]
    return [name for name in names if re.fullmatch(r"[\w.]+", name)]


def _ranges(case: Case, path: str, symptom: Symptom) -> list[tuple[int, int]]:
    found = []
    callee = case.callee(symptom)
    if callee is not None and callee.path == path:
        found.append((callee.line, callee.end_line))
    classes = family(case.index, _class_of(symptom)) if callee is None else []
    found += [(item.line, item.end_line) for item in classes if item.path == path]
    for frame in symptom.fault.own_frames:
        if frame.path == path:
            around = case.index.enclosing(path, frame.line)
            found.append((around.line, around.end_line) if around else (frame.line, frame.line))
    return found


def _whole_file(case: Case, change: FileChange, symptom: Symptom | None) -> Iterator[Candidate]:
    """Undo all that a commit did to one file, where that is little."""
    present = case.tree.read(change.path)
    if change.before is None or change.after is None or present is None:
        return
    blocks = hunks(change.before, change.after)
    if not blocks or len(blocks) > _MOST_HUNKS:
        return
    text = undo(present, change.after, blocks)
    if text is not None and parses(text):
        weight = 0.6 - 0.05 * (len(blocks) - 1)
        yield _candidate(case, change, symptom, text, blocks, weight)


def _candidate(
    case: Case,
    change: FileChange,
    symptom: Symptom | None,
    text: str,
    chosen: list[Hunk],
    score: float,
) -> Candidate:
    taken = _users_of_what_goes(case, change.path, chosen)
    defect = _DEFECTS[symptom.kind] if symptom else DefectClass.UNKNOWN
    return Candidate(
        strategy="version_history",
        defect=defect,
        title=f"Restore in {change.path} what {_word(change.commit)} took away.",
        changes={change.path: text},
        origin=Origin.HISTORY,
        score=score,
        rule="" if taken else "a restore from history",
        waits_because=f"{taken} is used elsewhere and would go with the restore" if taken else "",
        parameters={"commit": change.commit, "path": change.path},
        # What does not speak of the missing name has to show that it is needed.
        atomic=len(chosen) == 1 or _all_named(chosen, symptom),
        may_defer_imports=defect is DefectClass.CIRCULAR_IMPORT,
    )


def _all_named(chosen: list[Hunk], symptom: Symptom | None) -> bool:
    names = _names(symptom) if symptom else []
    return all(any(mentions(block.old, name) for name in names) for block in chosen)


def _word(commit: str) -> str:
    return "the uncommitted work" if commit == UNCOMMITTED else f"commit {commit[:10]}"


_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def _users_of_what_goes(case: Case, path: str, chosen: list[Hunk]) -> str:
    """Return a name that only the new side defines and that other files use, empty if none."""
    for block in chosen:
        old = set(_IDENTIFIER.findall("".join(block.old)))
        for line in block.new:
            defined = re.match(r"\s*(?:async\s+)?(?:def|class)\s+(\w+)|^(\w+)\s*[:=]", line)
            name = (defined[1] or defined[2]) if defined else None
            if (
                name
                and name not in old
                and any(
                    other != path or not _inside(chosen, number)
                    for other, number in case.index.uses(name)
                )
            ):
                return name
    return ""


def _inside(chosen: list[Hunk], line: int) -> bool:
    return any(block.start < line <= block.start + len(block.new) for block in chosen)


def _file_back(case: Case, change: FileChange, symptom: Symptom) -> Iterator[Candidate]:
    """Bring a deleted or moved file back to its place."""
    dotted = case.index.dotted(change.path)
    concerned = {symptom.name, symptom.subject, f"{symptom.subject}.{symptom.name}"}
    relevant = dotted in concerned or any(
        dotted and name.startswith(dotted + ".") for name in concerned
    )
    package = change.path.endswith("__init__.py")
    if not relevant and not package:
        return
    changes: dict[str, str | None] = {change.path: change.before}
    defect = DefectClass.DELETED_INIT if package else DefectClass.MOVED_MODULE
    rule, waits = "a restore from history", ""
    moved = change.moved_to
    if moved is not None and case.tree.exists(moved):
        defect = DefectClass.MOVED_MODULE
        if case.index.importers(case.index.dotted(moved)):
            rule, waits = "", f"{moved} has users of its own"
        else:
            changes[moved] = None
    yield Candidate(
        strategy="version_history",
        defect=defect,
        title=f"Restore {change.path}, which {_word(change.commit)} took away.",
        changes=changes,
        origin=Origin.HISTORY,
        score=1.0 if relevant else 0.7,
        rule=rule,
        waits_because=waits,
        parameters={"commit": change.commit, "path": change.path},
        atomic=True,
    )

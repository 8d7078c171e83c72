"""A module uses names that it no longer imports: the imports return, all of them at once."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.codemods.imports import Import, add_import
from homeostat.repair.installed import names_of
from homeostat.repair.strategies.dropped_export import import_of, sources_of
from homeostat.repair.symptom import Kind

#: Standard modules whose names are commonly imported one by one, likeliest first.
_STANDARD = (
    "typing", "collections", "collections.abc", "functools", "itertools", "dataclasses",
    "contextlib", "pathlib", "datetime", "enum", "abc", "io", "operator", "types", "warnings",
    "decimal", "fractions", "copy", "math", "re", "os", "sys", "time", "json", "string", "inspect",
    "textwrap", "threading", "weakref", "tempfile", "subprocess", "urllib.parse", "os.path",
    "concurrent.futures", "numbers", "heapq", "bisect", "random", "struct", "uuid", "queue",
)  # fmt: skip
#: Standard modules whose import does something that can be seen.
_WITH_EFFECTS = frozenset({"antigravity", "this", "__main__"})
#: Aliases that everybody gives the same packages.
_ALIASES = {
    "np": "numpy",
    "pd": "pandas",
    "plt": "matplotlib.pyplot",
    "t": "typing",
    "_t": "typing",
}


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the file with an import for each undefined name that can be found."""
    seen = set()
    for symptom in case.symptoms:
        frame = symptom.frame
        if symptom.kind is not Kind.UNDEFINED_NAME or frame is None or frame.path is None:
            continue
        if (frame.path, symptom.name) in seen:
            continue
        seen.add((frame.path, symptom.name))
        yield from _candidate(case, frame.path, symptom.name)


def _candidate(case: Case, path: str, name: str) -> Iterator[Candidate]:
    first = sources(case, path, name)
    others = dict.fromkeys(item for item, _ in case.undefined(path) if item != name)
    rest = [(other, found[0]) for other in others if (found := sources(case, path, other))]
    for rank, (wanted, alone) in enumerate(first[:3]):
        text = case.tree.text(path)
        all_alone = alone
        added = [wanted.statement]
        for _, (other, other_alone) in rest:
            text = add_import(text, other)
            added.append(other.statement)
            all_alone = all_alone and other_alone
        text = add_import(text, wanted)
        if not parses(text):
            continue
        sure = all_alone and rank == 0
        yield Candidate(
            strategy="dropped_import",
            defect=DefectClass.DROPPED_IMPORT,
            title=f"Import again in {path}: {'; '.join(added)}.",
            changes={path: text},
            score=0.9 - 0.15 * rank,
            rule="a unique import" if sure else "",
            waits_because="" if sure else "the name can be imported from several places",
            parameters={"path": path, "imports": list(added)},
            atomic=not rest,
        )


def sources(case: Case, path: str, name: str) -> list[tuple[Import, bool]]:
    """Return imports that would bind `name`, best first, each with whether it stands alone.

    How the rest of the tree imports the name counts most, because that is the project's own word.
    """
    found: dict[Import, float] = {}
    votes: Counter[Import] = Counter()
    for use in case.index.imports(name):
        if not use.top or use.path == path:
            continue
        absolute = case.index.absolute(use)
        if use.level or absolute.split(".")[0] == case.index.dotted(path).split(".")[0]:
            source = case.index.modules.get(absolute)
            if source == path or source is None:
                continue
            near = import_of(case, path, source, use.name)
            votes[Import(near.module, use.name, use.alias, near.level)] += 1
        else:
            votes[Import(use.module, use.name, use.alias, 0)] += 1
    for wanted, count in votes.items():
        found[wanted] = 0.7 + 0.01 * min(count, 20)
    _own(case, path, name, found)
    _installed(case, path, name, found)
    _standard(case, name, found)
    ranked = sorted(found, key=lambda item: (-found[item], item.level, len(item.module)))
    if not ranked:
        return []
    agree = [item for item in ranked if found[item] >= 0.6]
    targets = {_target(case, path, item) for item in agree}
    return [(item, len(targets) == 1) for item in ranked]


def _target(case: Case, path: str, item: Import) -> tuple[str, str]:
    """Return what an import really means, so that two spellings of one thing are one."""
    module = item.module
    if item.level:
        parts = case.index.package_of(path).split(".")
        module = ".".join([*parts[: len(parts) - item.level + 1], *([module] if module else [])])
    source = case.index.modules.get(module)
    if source is not None:
        parsed = case.index.parsed(source)
        for use in parsed.imports if parsed else []:
            if use.bound == item.name and use.top and use.name:
                return case.index.absolute(use), use.name
    if module in {"typing", "collections.abc", "typing_extensions"}:
        module = "typing"
    return module, item.name


def _own(case: Case, path: str, name: str, found: dict[Import, float]) -> None:
    parsed = case.index.parsed(path)
    used = {case.index.absolute(use) for use in parsed.imports} if parsed else set()
    homes = sources_of(case, name, path)
    for item in homes:
        wanted = import_of(case, path, item.path, name)
        near = case.index.dotted(item.path) in used
        found[wanted] = max(found.get(wanted, 0.0), 0.78 if near else 0.65)
    package = case.index.package_of(path)
    for dotted in (f"{package}.{name}",) if package else (name,):
        if dotted in case.index.modules:
            wanted = Import("", name, "", 1) if package else Import(name)
            found[wanted] = max(found.get(wanted, 0.0), 0.7)


def _installed(case: Case, path: str, name: str, found: dict[Import, float]) -> None:
    """Add the modules of others that the file imports from already and that have the name too."""
    parsed = case.index.parsed(path)
    for use in parsed.imports if parsed else ():
        if use.level or not use.top or not use.name or use.module in case.index.modules:
            continue
        if use.module.split(".")[0] in case.interpreter.stdlib:
            has = use.module not in _WITH_EFFECTS and name in _public_names(use.module)
        else:
            has = name in names_of(case.interpreter, use.module)
        if has:
            found.setdefault(Import(use.module, name), 0.64)


def _standard(case: Case, name: str, found: dict[Import, float]) -> None:
    if name in case.interpreter.stdlib or name in _ALIASES or case.interpreter.has_module(name):
        wanted = Import(_ALIASES[name], "", name) if name in _ALIASES else Import(name)
        found.setdefault(wanted, 0.68)
    if any(score >= 0.7 for score in found.values()):
        return
    for module in _STANDARD:
        if name in _public_names(module):
            found.setdefault(Import(module, name), 0.62)
            return


@lru_cache(maxsize=64)
def _public_names(module: str) -> frozenset[str]:
    """Names of a standard module of this process's own Python; none of it is the target's."""
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return frozenset()
    return frozenset(getattr(loaded, "__all__", None) or [
        name for name in vars(loaded) if not name.startswith("_")
    ])  # fmt: skip

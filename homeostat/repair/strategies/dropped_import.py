"""A module uses names that it no longer imports: the imports return, all of them at once."""

from __future__ import annotations

import ast
import collections
import importlib
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses
from homeostat.repair.codemods.imports import Import, add_import
from homeostat.repair.installed import names_of, standard_defining
from homeostat.repair.strategies.dropped_export import import_of, sources_of
from homeostat.repair.strategies.renamed_definition import likely_renamed
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
#: How likely another standard module of the same name is, and how many are compared.
_RIVAL, _MOST_RIVALS = 0.55, 3
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
    found = [more for other in others if (more := sources(case, path, other))]
    rest = [more[0] for more in found]
    # Only the first name's rivals are compared.
    no_rival = not any(item.rival for more in found for item in more)
    few = sum(item.rival for item in first) <= _MOST_RIVALS
    few = few and not likely_renamed(case, path, name)
    for rank, source in enumerate(first[: 1 + _MOST_RIVALS]):
        text = case.tree.text(path)
        added = [source.wanted.statement]
        for other in rest:
            text = add_import(text, other.wanted)
            added.append(other.wanted.statement)
        text = add_import(text, source.wanted)
        if not parses(text):
            continue
        all_alone = source.alone and no_rival and all(other.alone for other in rest)
        # The rival of a sure one is as sure, so that both are compared.
        sure = few and all_alone and (rank == 0 or source.rival)
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


@dataclass(frozen=True)
class Source:
    """An import that would bind a name; whether it stands alone, or is a standard rival."""

    wanted: Import
    alone: bool
    rival: bool


def sources(case: Case, path: str, name: str) -> list[Source]:
    """Return imports that would bind `name`, best first.

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
    _standard(case, path, name, found)
    ranked = sorted(found, key=lambda item: (-found[item], item.level, len(item.module)))
    if not ranked:
        return []
    agree = [item for item in ranked if found[item] >= 0.6]
    targets = {_target(case, path, item) for item in agree}
    return [Source(item, len(targets) == 1, found[item] == _RIVAL) for item in ranked]


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
            has = has and not _is_old_alias(use.module, name)
        else:
            has = name in names_of(case.interpreter, use.module)
        if has:
            found.setdefault(Import(use.module, name), 0.64)


def _standard(case: Case, path: str, name: str, found: dict[Import, float]) -> None:
    is_module = _is_used_as_module(case, path, name)
    if name in case.interpreter.stdlib or name in _ALIASES or case.interpreter.has_module(name):
        wanted = Import(_ALIASES[name], "", name) if name in _ALIASES else Import(name)
        if is_module is not False:
            found.setdefault(wanted, 0.68)
    if is_module:
        return
    # The project's own word goes before a standard module, which is only compared with it then.
    score = _RIVAL if any(one >= 0.7 for one in found.values()) else 0.62
    known = {_target(case, path, item) for item in found}
    homes = (one for one in _STANDARD if name in _public_names(one))
    module = next((one for one in homes if not _is_old_alias(one, name)), "")
    if not module or _target(case, path, Import(module, name)) in known:
        return
    found[Import(module, name)] = score
    for other in standard_defining(case.interpreter, name):
        if other != module and not _same_object(module, other, name):
            found.setdefault(Import(other, name), _RIVAL)


def _is_used_as_module(case: Case, path: str, name: str) -> bool | None:
    """Whether a file asks a standard module's name only for what that module has.

    False where it asks it for something else, or calls it; None where nothing is told.
    """
    parsed = case.index.parsed(path)
    if parsed is None or name not in case.interpreter.stdlib or name in _WITH_EFFECTS:
        return None
    nodes = list(ast.walk(parsed.module))
    owners = [node for node in nodes if isinstance(node, ast.Attribute)]
    asked = {
        node.attr for node in owners if isinstance(node.value, ast.Name) and node.value.id == name
    }
    called = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in nodes
    )
    if called or not asked:
        return False if called else None
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return all(hasattr(module, word) for word in asked)


def _same_object(module: str, other: str, name: str) -> bool:
    """Whether a standard module only passes on what another defines; both are this process's."""
    try:
        pair = [getattr(importlib.import_module(one), name, None) for one in (module, other)]
    except ImportError:
        return False
    return pair[0] is pair[1] or _is_old_alias(module, name) or _is_old_alias(other, name)


def _is_old_alias(module: str, name: str) -> bool:
    """Whether a name of `typing` only stands for a class of `collections` that bears it too.

    Those of `collections.abc` are left: both modules are imported from for them.
    """
    origin = getattr(getattr(typing, name, None), "__origin__", None)
    known = module == "typing" and getattr(origin, "__module__", "") == "collections"
    return known and getattr(collections, name, None) is origin


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

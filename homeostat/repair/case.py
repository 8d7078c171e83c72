"""One defect under treatment: what is known of it, and the shape of a proposed remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from homeostat.repair.callee import find_callee
from homeostat.repair.failure import Failure
from homeostat.repair.history import History
from homeostat.repair.index import Definition, Index
from homeostat.repair.sandbox import Interpreter
from homeostat.repair.symptom import Symptom
from homeostat.repair.tree import Tree


class DefectClass(StrEnum):
    """The kinds of defect that a strategy names."""

    RENAMED_PARAMETER = "renamed_parameter"
    DROPPED_PARAMETER = "dropped_parameter"
    DROPPED_DEFAULT = "dropped_default"
    RENAMED_DEFINITION = "renamed_definition"
    DROPPED_EXPORT = "dropped_export"
    DROPPED_IMPORT = "dropped_import"
    MOVED_MODULE = "moved_module"
    DELETED_INIT = "deleted_init"
    CIRCULAR_IMPORT = "circular_import"
    MISSING_NONE_GUARD = "missing_none_guard"
    MISSING_KEY = "missing_key"
    LENGTH_MISMATCH = "length_mismatch"
    DEPENDENCY_DRIFT = "dependency_drift"
    CONSTRUCTOR_MISMATCH = "constructor_mismatch"
    CONFIGURATION_DRIFT = "configuration_drift"
    UNKNOWN = "unknown"


class Origin(StrEnum):
    """Where a candidate comes from, in the order in which they are asked."""

    KNOWLEDGE = "knowledge"
    HISTORY = "history"
    CODEMOD = "codemod"
    RELOCATION = "relocation"
    PIN = "pin"
    LLM = "llm"


class Side(StrEnum):
    """Which side is mended: our own interface, its caller, or the pinned dependency."""

    API = "api"
    CALLER = "caller"
    DEPENDENCY = "dependency"


@dataclass(frozen=True)
class Candidate:
    """A proposed patch. `rule` names the evidence that lets it be applied without a person.

    `changes` maps a path to its whole new text (None deletes the file). An empty `rule` means
    that a person must approve, and `waits_because` says why. `traced` are (function, parameter)
    pairs whose values the replay follows to see where they end up.
    """

    strategy: str
    defect: DefectClass
    title: str
    changes: Mapping[str, str | None]
    origin: Origin = Origin.CODEMOD
    side: Side = Side.API
    score: float = 0.5
    rule: str = ""
    waits_because: str = ""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    traced: tuple[tuple[str, str], ...] = ()
    atomic: bool = False
    may_defer_imports: bool = False
    readable: tuple[Path, ...] = ()
    replaces_call: bool = False
    flaw: str = ""
    """Why this is no patch at all (a model's answer that cannot be read); empty where it is one."""


@dataclass(frozen=True)
class Case:
    """Everything that the strategies may look at."""

    repository: Path
    tree: Tree
    index: Index
    history: History
    failure: Failure
    symptoms: tuple[Symptom, ...]
    interpreter: Interpreter
    undefined: Callable[[str], tuple[tuple[str, int], ...]]
    """Undefined names in a file (name, line), as ruff's F821 sees them."""

    def callee(self, symptom: Symptom) -> Definition | None:
        """Return the definition that a failed call named; None where it is not ours or unknown."""
        return find_callee(self.index, symptom)


class Strategy(Protocol):
    """A module in `homeostat.repair.strategies`: one function that yields candidates."""

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """Yield patches, best first; nothing where the case is not of its kind."""

"""Mechanical drift: small edits of a package's source that break its users, one class each.

Each generator yields defects from a tree; the original text is the ground truth. Nothing here
knows any package.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks.repair_defects import guards, modules, signatures
from benchmarks.repair_defects.defect import Defect
from homeostat.repair.tree import Tree

__all__ = ["CLEAR", "INJECTORS", "Defect"]

INJECTORS: dict[str, Callable[[Tree, random.Random], Iterator[Defect]]] = {
    "renamed_parameter": signatures.renamed_parameter,
    "dropped_default": signatures.dropped_default,
    "renamed_function": signatures.renamed_function,
    "dropped_export": modules.dropped_export,
    "dropped_import": modules.dropped_import,
    "moved_module": modules.moved_module,
    "circular_import": modules.circular_import,
    "dropped_parameter": signatures.dropped_parameter,
    "deleted_init": modules.deleted_init,
    "none_guard": guards.none_guard,
    "dict_get": guards.dict_get,
}
#: The classes for which the evidence is clear.
CLEAR = tuple(INJECTORS)[:7]

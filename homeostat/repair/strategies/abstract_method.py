"""A class cannot be made because it lacks an abstract method: one of the two names was changed.

The abstract method and what implements it went by one name. The one of the two that nobody uses
gets the other's name back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeostat.repair.callee import family
from homeostat.repair.case import Candidate, Case
from homeostat.repair.evidence import parameter_names
from homeostat.repair.index import Definition
from homeostat.repair.strategies.renamed_definition import renamed
from homeostat.repair.symptom import Kind


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the abstract method by the name of what implements it, and the other way about."""
    for symptom in case.symptoms:
        if symptom.kind is not Kind.ABSTRACT_METHOD:
            continue
        classes = family(case.index, symptom.subject)
        for wanted in re.findall(r"\w+", symptom.name):
            declared = [item for item in _methods(case, classes) if item.name == wanted]
            for abstract, concrete in _pairs(case, classes, declared):
                for item, name in ((abstract, concrete.name), (concrete, abstract.name)):
                    # An attribute of that name may be anybody's, a list's `insert` as well.
                    candidate = renamed(case, name, item, told=True)
                    if candidate is not None and case.index.uses(name):
                        yield candidate


def _methods(case: Case, classes: list[Definition]) -> list[Definition]:
    return [
        item
        for one in classes
        if (parsed := case.index.parsed(one.path))
        for item in parsed.definitions
        if item.owner == one.qualname and item.function is not None
    ]


def _pairs(
    case: Case, classes: list[Definition], declared: list[Definition]
) -> Iterator[tuple[Definition, Definition]]:
    """Yield each abstract method with a method that takes the same and has a name of its own."""
    methods = _methods(case, classes)
    for abstract in declared:
        for other in methods:
            alone = sum(item.name == other.name for item in methods) == 1
            if (
                alone
                and other.owner != abstract.owner
                and other.function
                and abstract.function
                and parameter_names(other.function) == parameter_names(abstract.function)
            ):
                yield abstract, other

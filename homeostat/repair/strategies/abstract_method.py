"""A class cannot be made because it lacks an abstract method: one of the two names was changed.

The abstract method and what implements it went by one name. The one of the two that nobody uses
gets the other's name back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations

from homeostat.repair.callee import family, methods_of
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
        methods = [
            method
            for one in family(case.index, symptom.subject)
            for method in methods_of(case.index, one.path, one.qualname)
        ]
        for wanted in re.findall(r"\w+", symptom.name):
            for abstract, concrete in _pairs(methods, wanted):
                for item, name in ((abstract, concrete.name), (concrete, abstract.name)):
                    # An attribute of that name may be anybody's, a list's `insert` as well.
                    candidate = renamed(case, name, item, told=True)
                    if candidate is not None and case.index.uses(name):
                        yield candidate


def _pairs(methods: list[Definition], wanted: str) -> Iterator[tuple[Definition, Definition]]:
    """Yield each method of that name with one that takes the same and has a name of its own."""
    names = [item.name for item in methods]
    for abstract, other in permutations(methods, 2):
        if (
            abstract.name == wanted
            and names.count(other.name) == 1
            and other.owner != abstract.owner
            and _takes(other) == _takes(abstract)
        ):
            yield abstract, other


def _takes(method: Definition) -> list[str]:
    return parameter_names(method.function) if method.function else []

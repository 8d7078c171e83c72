"""A caller leaves out an argument that once had a default: the default comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from homeostat.repair.callee import methods_of
from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses, set_default
from homeostat.repair.index import Definition, FunctionNode
from homeostat.repair.parameter_custom import (
    CONSENSUS,
    defaults_of_namesakes,
    given_by_keyword,
    literals_given,
    none_is_custom,
    relatives,
    told_default,
)
from homeostat.repair.parameter_members import members_for
from homeostat.repair.parameter_use import (
    ALLOWS_NONE,
    annotation_of,
    by_use,
    compared_by_identity,
    is_reckoned_with,
    stands_for_another,
)
from homeostat.repair.symptom import Kind

#: Defaults to try for a type, commonest first; each is proven by the failing test or refused.
_BY_TYPE: dict[str, tuple[tuple[str, float], ...]] = {
    "bool": (("False", 0.5), ("True", 0.48)),
    "int": (("0", 0.4), ("1", 0.39), ("2", 0.38), ("-1", 0.34)),
    "str": (
        ('""', 0.4),
        ("None", 0.31),
        ('" "', 0.3),
        ('"-"', 0.29),
        ('"_"', 0.28),
        ('","', 0.27),
        ('"utf-8"', 0.26),
        ('"\\n"', 0.25),
    ),
    "float": (("0.0", 0.4), ("1.0", 0.39)),
}

#: The types of literals that callers give.
LITERALS = tuple(_BY_TYPE)
#: The members of an enumeration that are tried.
_MOST_MEMBERS = 6
#: What is tried where nothing is known.
_ANY = ("None", '""', "False", "0", "1", "True", "()")
#: Of a field of a data class, which every object has for itself.
_BY_FIELD_TYPE = {
    "tuple": "()", "frozenset": "frozenset()", "list": "field(default_factory=list)",
    "dict": "field(default_factory=dict)", "set": "field(default_factory=set)",
}  # fmt: skip
#: Names of a value that stands for an argument that was not given.
_NOT_GIVEN = re.compile(
    r"(?i)^_*(no_?)?(missing|absent|unset|sentinel|not_?set|not_?given|undefined|omitted|unspecified|"
    r"nothing|empty|default|value|arg)(_?(arg|default|type|value|marker|sentinel))?_*$"
)
#: What an annotation that allows None says for it.
_ANNOTATED = 0.92
#: A rival this well supported is evidence against a default of None, whatever speaks for that.
_RIVAL, _RIVAL_OF_ANNOTATION = 0.8, 0.55


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the function with defaults for what was missing, likeliest values first."""
    for symptom in case.symptoms:
        if symptom.kind is not Kind.MISSING_ARGUMENT:
            continue
        callee = case.callee(symptom)
        if callee is None or callee.function is None:
            continue
        guesses = [default_guesses(case, callee, name) for name in symptom.names]
        disputed = any(_disputed(item) for item in guesses)
        for rank in range(max((len(item) for item in guesses), default=0)):
            chosen = [item[min(rank, len(item) - 1)] for item in guesses if item]
            if len(chosen) == len(symptom.names):
                yield from _candidate(case, callee, symptom.names, chosen, disputed=disputed)


def default_guesses(  # noqa: C901 - a rule per source of evidence
    case: Case, callee: Definition, name: str
) -> list[tuple[str, float, str]]:
    """Return (value, score, why) for a parameter's default, best first.

    A score of 0.9 or more is evidence, not a guess: the body or the annotation asks for None, or
    every other function with that parameter has it.
    """
    found: dict[str, tuple[float, str]] = {}

    def vote(value: str, score: float, why: str) -> None:
        if score > found.get(value, (0.0, ""))[0]:
            found[value] = (score, why)

    function = callee.function
    if function is None:
        return []
    given = literals_given(case, callee, name)
    compared = set(compared_by_identity(function, name))
    for value in compared:
        # Where both are told apart, None is a value that may be given.
        alone = value != "None" or compared == {"None"}
        score = 0.93
        if value == "None":
            score = 0.95 if stands_for_another(function, name) else _may_be_given(given)
        vote(value, score if alone else 0.7, f"the body handles {value}")
    annotation = annotation_of(function, name)
    if ALLOWS_NONE.search(annotation):
        custom = None not in given and none_is_custom(case, callee)
        allowed = _ANNOTATED if custom else min(_ANNOTATED, _may_be_given(given))
        vote("None", allowed, "the annotation allows None")
    for value, score, why in _by_type(case, callee, function, name, given):
        vote(value, score, why)
    plain = given - {None}
    if plain in ({True}, {False}) and all(isinstance(value, bool) for value in plain):
        told_value = next(iter(plain))
        vote(str(not told_value), 0.6, f"callers say {told_value} where they want it")
    told = told_default(case, callee, name)
    if told:
        vote(told, 0.8, "the docstring tells it")
    namesakes = defaults_of_namesakes(case, callee, name)
    if set(namesakes) == {"None"} and namesakes["None"] >= CONSENSUS:
        vote("None", 0.9, f"all {namesakes['None']} functions of that parameter have it")
    for value, count in namesakes.most_common(3):
        vote(value, min(0.5 + 0.05 * count, 0.75), f"{count} functions of that parameter have it")
    for value in relatives(case, callee, name):
        vote(value, 0.85, "the same method elsewhere has it")
    for rank, value in enumerate(_ANY):
        vote(value, 0.3 - 0.02 * rank, "nothing speaks for another value")
    return sorted(
        ((value, score, why) for value, (score, why) in found.items()), key=lambda item: -item[1]
    )


def field_guesses(annotation: str) -> list[str]:
    """Return defaults for a field of a data class, likeliest first."""
    kind = annotation.replace("Optional[", "").split("|")[0].split("[")[0].strip().lower()
    found = ["None"] if ALLOWS_NONE.search(annotation) else []
    found += [value for value, _ in _BY_TYPE.get(kind, ())]
    return [*found, *filter(None, [_BY_FIELD_TYPE.get(kind, "")])]


def _by_type(
    case: Case, callee: Definition, function: FunctionNode, name: str, given: set[object]
) -> Iterator[tuple[str, float, str]]:
    """Yield what is commonly the default of a parameter's type, as far as that is known."""
    annotation = annotation_of(function, name)
    for value, score in _BY_TYPE.get(annotation.split("|")[0].strip(), ()):
        yield value, score, f"the annotation is {annotation}"
    for kind in sorted({type(value).__name__ for value in given or given_by_keyword(case, name)}):
        for value, score in _BY_TYPE.get(kind, ()):
            yield value, score, f"callers give a value of type {kind}"
    yield from by_use(function, name)
    beside = methods_of(case.index, callee.path, callee.owner)
    if is_reckoned_with(function, name, [one.function for one in beside if one.function]):
        for value, score in _BY_TYPE["int"]:
            yield value, score - 0.1, "it is reckoned with"
    for rank, value in enumerate(members_for(case, callee, name, annotation)[:_MOST_MEMBERS]):
        yield value, 0.45 - 0.01 * rank, "it is a member of what is given"


def _may_be_given(given: set[object]) -> float:
    """Return how sure None is where it is handled, or allowed, and may have been a value as well.

    Nobody gives None who would get it anyway; and who gives numbers and texts may leave out one.
    """
    if None in given:
        return 0.7
    return 0.85 if any(not isinstance(value, bool) for value in given) else 0.93


def _is_not_given(case: Case, callee: Definition, value: str) -> bool:
    """Whether a name stands for nothing given, and only the function's own module knows it.

    One that others import may be given as well, and then says something else.
    """
    own = case.index.top_level(callee.path).get(value)
    private = own is not None and own.kind != "import" and not case.index.imports(value)
    return private and _NOT_GIVEN.match(value) is not None


def _disputed(guesses: list[tuple[str, float, str]]) -> bool:
    """Whether a rival of the best guess is so well supported that a person has to choose."""
    if not guesses:
        return True
    _, best, _ = guesses[0]
    least = _RIVAL if best > _ANNOTATED else _RIVAL_OF_ANNOTATION
    return any(score >= least for _, score, _ in guesses[1:])


def _candidate(
    case: Case,
    callee: Definition,
    names: tuple[str, ...],
    chosen: list[tuple[str, float, str]],
    *,
    disputed: bool,
) -> Iterator[Candidate]:
    text: str | None = case.tree.text(callee.path)
    # The last first: a parameter without a default may not follow one that has one.
    for name, (value, _, _) in reversed(list(zip(names, chosen, strict=True))):
        text = text and set_default(text, callee.qualname, name, value)
    if not text or not parses(text):
        return
    pairs = {name: value for name, (value, _, _) in zip(names, chosen, strict=True)}
    none = not disputed and all(
        score >= 0.9 and (value == "None" or _is_not_given(case, callee, value))
        for value, score, _ in chosen
    )
    shown = ", ".join(f"{name}={value}" for name, value in pairs.items())
    yield Candidate(
        strategy="dropped_default",
        defect=DefectClass.DROPPED_DEFAULT,
        title=f"Give {callee.qualname} its default back: {shown} ({chosen[0][2]}).",
        changes={callee.path: text},
        score=min(score for _, score, _ in chosen),
        rule="a None default, or one for nothing given, that is asked for" if none else "",
        waits_because="" if none else f"the default {shown} is inferred: {chosen[0][2]}",
        parameters={"path": callee.path, "function": callee.qualname, "defaults": dict(pairs)},
    )

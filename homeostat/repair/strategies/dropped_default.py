"""A caller leaves out an argument that once had a default: the default comes back."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass
from homeostat.repair.codemods.functions import parses, set_default
from homeostat.repair.evidence import all_arguments, callers, defaults, docstring
from homeostat.repair.index import Definition
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
    ),
    "float": (("0.0", 0.4), ("1.0", 0.39)),
}

#: The types of literals that callers give.
LITERALS = tuple(_BY_TYPE)
#: Names of a value that stands for an argument that was not given.
_NOT_GIVEN = re.compile(
    r"(?i)^_*(no_?)?(missing|absent|unset|sentinel|not_?set|not_?given|undefined|omitted|unspecified|"
    r"nothing|empty|default|value|arg)(_?(arg|default|type|value|marker|sentinel))?_*$"
)
#: What an annotation that allows None says for it.
_ANNOTATED = 0.92
#: A rival this well supported is evidence against a default of None, whatever speaks for that.
_RIVAL, _RIVAL_OF_ANNOTATION = 0.8, 0.55
#: So many functions, without an exception, make a project's custom.
_CONSENSUS = 3


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
    compared = set(_compared_by_identity(function, name))
    for value in compared:
        # Where both are told apart, None is a value that may be given.
        alone = value != "None" or compared == {"None"}
        score = 0.95 if value == "None" else 0.93
        vote(value, score if alone else 0.7, f"the body handles {value}")
    annotation = _annotation(function, name)
    if re.search(r"Optional\[|\bNone\b", annotation):
        vote("None", _ANNOTATED, "the annotation allows None")
    for value, score in _BY_TYPE.get(annotation.split("|")[0].strip(), ()):
        vote(value, score, f"the annotation is {annotation}")
    given = _given(case, callee, name)
    for kind in sorted({type(value).__name__ for value in given}):
        for value, score in _BY_TYPE.get(kind, ()):
            vote(value, score, f"callers give a value of type {kind}")
    if given in ({True}, {False}) and all(isinstance(value, bool) for value in given):
        told_value = next(iter(given))
        vote(str(not told_value), 0.6, f"callers say {told_value} where they want it")
    told = _told(case, callee, name)
    if told:
        vote(told, 0.8, "the docstring tells it")
    namesakes = _namesakes(case, callee, name)
    if set(namesakes) == {"None"} and namesakes["None"] >= _CONSENSUS:
        vote("None", 0.9, f"all {namesakes['None']} functions of that parameter have it")
    for value, count in namesakes.most_common(3):
        vote(value, min(0.5 + 0.05 * count, 0.75), f"{count} functions of that parameter have it")
    for value in _relatives(case, callee, name):
        vote(value, 0.85, "the same method elsewhere has it")
    vote("None", 0.3, "nothing speaks for another value")
    return sorted(
        ((value, score, why) for value, (score, why) in found.items()), key=lambda item: -item[1]
    )


def _told(case: Case, callee: Definition, name: str) -> str:
    """Return the default that the docstring tells, empty where what it says is no value."""
    told = re.search(
        rf"(?is)\b{re.escape(name)}\b[^\n]*(?:\n\s+[^\n]*){{0,3}}?"
        rf"default(?:s to|:| is|=)?\s*`*(?P<quote>['\"]?)(?P<value>[-\w.]+)(?P=quote)",
        docstring(callee),
    )
    if told is None:
        return ""
    value = told["value"].rstrip(".")
    if told["quote"]:
        return repr(value)
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value if value in case.index.top_level(callee.path) else ""
    return value


def _given(case: Case, callee: Definition, name: str) -> set[object]:
    """Return the literals that callers give for a parameter, by keyword or by position."""
    function = callee.function
    if function is None:
        return set()
    positional = [item.arg for item in (*function.args.posonlyargs, *function.args.args)]
    if positional[:1] in (["self"], ["cls"]):
        positional = positional[1:]
    at = positional.index(name) if name in positional else None
    found: set[object] = set()
    for call in callers(case.index, callee):
        values = [item.value for item in call.node.keywords if item.arg == name]
        if at is not None and not call.starred and at < len(call.node.args):
            values.append(call.node.args[at])
        found |= {value.value for value in values if isinstance(value, ast.Constant)}
    return found - {None}


def _compared_by_identity(
    function: ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[str]:
    """Yield what the body compares a parameter with by `is`: None, or a sentinel by its name."""
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.left, ast.Name)
            and node.left.id == name
            and isinstance(node.ops[0], ast.Is | ast.IsNot)
        ):
            other = node.comparators[0]
            if isinstance(other, ast.Constant) and other.value is None:
                yield "None"
            elif isinstance(other, ast.Name):
                yield other.id
            elif isinstance(other, ast.Attribute) and ast.unparse(other.value) in {"self", "cls"}:
                # In the class, where the default is evaluated, the sentinel is a plain name.
                yield other.attr


def _annotation(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    for item in all_arguments(function.args):
        if item.arg == name and item.annotation is not None:
            return ast.unparse(item.annotation).strip("'\"")
    return ""


def _namesakes(case: Case, callee: Definition, name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for parsed in case.index.files_with(name):
        for item in parsed.definitions:
            if item.function is None or (item.path, item.line) == (callee.path, callee.line):
                continue
            value = defaults(item.function).get(name)
            if isinstance(value, ast.Constant | ast.UnaryOp) or (
                value is not None and item.path == callee.path
            ):
                found[ast.unparse(value)] += 1
    return found


def _relatives(case: Case, callee: Definition, name: str) -> list[str]:
    """Return the defaults that methods of the same name give this parameter."""
    found = []
    for item in case.index.definitions(callee.name, ("function",)):
        if item.function is not None and (item.path, item.line) != (callee.path, callee.line):
            value = defaults(item.function).get(name)
            if isinstance(value, ast.Constant):
                found.append(ast.unparse(value))
    return found


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
    for name, (value, _, _) in zip(names, chosen, strict=True):
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

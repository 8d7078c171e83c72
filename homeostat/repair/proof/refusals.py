"""What no patch may do, whatever the tests say: rules on the difference of two syntax trees.

Each rule returns the reason for a refusal, or nothing. A restore from history may bring back a
handler or a constant that stood there before; nothing else may.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from homeostat import syntax
from homeostat.repair.case import Candidate, DefectClass, Origin, Side
from homeostat.repair.proof.difference import Texts, call_name, count, gone
from homeostat.repair.proof.ignored import ignored
from homeostat.repair.proof.known import Known
from homeostat.repair.proof.meddling import meddled
from homeostat.repair.proof.silenced import hidden, swallowed, unchecked, weakened
from homeostat.repair.proof.touched_files import guarded_files, known_tests, outside, size

#: What makes a constant of constants.
_MAKERS = frozenset({"int", "str", "float", "bool", "bytes", "list", "tuple", "dict", "set", "len",
                     "frozenset", "complex", "range", "sorted", "sum", "min", "max"})  # fmt: skip
#: The strategy that restores from history.
_RESTORES = "version_history"

Rule = Callable[[Candidate, Texts, Known], str]


def refusal(candidate: Candidate, texts: Texts, known: Known | None = None) -> str:
    """Return why the patch is refused, empty where it is not; `texts` is path → (before, after)."""
    if candidate.flaw:
        return candidate.flaw
    if candidate.origin is Origin.KNOWLEDGE and candidate.strategy == _RESTORES:
        # What was a restore from history when it was proven is one when it is replayed.
        candidate = replace(candidate, origin=Origin.HISTORY)
    known = known or Known()
    return next((reason for rule in _RULES if (reason := rule(candidate, texts, known))), "")


def _unparsable(texts: Texts) -> str:
    for path, (_, after) in texts.items():
        if after is None or not path.endswith(".py"):
            continue
        try:
            syntax.parse(after)
        except (SyntaxError, ValueError) as error:
            return f"{path} does not parse: {error}"
    return ""


def _calls(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield call_name(node)


def _arguments(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            yield f"{call_name(node)}({keyword.arg}=…)"


def _definitions(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name


def _removed_calls(candidate: Candidate, texts: Texts, known: Known) -> str:
    if candidate.origin is Origin.HISTORY:
        return ""
    lost = gone(texts, _calls)
    for name in _lost(texts, _calls):
        # Of what the repository offers a call may not even be exchanged for another.
        if known.is_own(name) and name not in _lost(texts, _definitions):
            lost[name] += 1
    if lost and not candidate.replaces_call:
        return f"it deletes the call of {next(iter(lost))}()"
    stripped = gone(texts, _arguments)
    if stripped and candidate.side is Side.API:
        return f"it strips the argument {next(iter(stripped))} at a call site"
    return ""


def _lost(texts: Texts, keys: Callable[[ast.AST], Iterator[str]]) -> Counter[str]:
    return count(texts, keys, new=False) - count(texts, keys, new=True)


def _removed_raises(candidate: Candidate, texts: Texts) -> str:
    def raised(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Raise):
            yield "an exception"

    lost = gone(texts, raised)
    return (
        "it raises an exception no more" if lost and candidate.origin is not Origin.HISTORY else ""
    )


def _removed_imports(candidate: Candidate, texts: Texts) -> str:
    def imports(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for item in node.names:
                yield item.asname or item.name

    lost = gone(texts, imports)
    if not lost or candidate.may_defer_imports or candidate.side is Side.CALLER:
        return ""
    return f"it removes the import of {next(iter(lost))}"


def _removed_definitions(candidate: Candidate, texts: Texts) -> str:
    lost = gone(texts, _definitions)
    if lost and candidate.origin is not Origin.HISTORY:
        return f"it removes the definition of {next(iter(lost))}"
    return ""


def _hard_coded(candidate: Candidate, texts: Texts) -> str:
    # A guard that does as its namesakes do returns what they return, and a person decides on it.
    if candidate.origin is Origin.HISTORY or candidate.defect is DefectClass.MISSING_NONE_GUARD:
        return ""

    def constants(node: ast.AST) -> Iterator[str]:
        results: list[ast.expr | None] = []
        if isinstance(node, ast.Return):
            results = _branches(node.value)
        elif isinstance(node, ast.Lambda):
            results = _branches(node.body)
        yield from (ast.unparse(item) for item in results if item is not None and _literal(item))

    added = count(texts, constants, new=True) - count(texts, constants, new=False)
    added.pop("None", None)
    return f"it hard-codes a result: return {next(iter(added))} is new" if added else ""


def _branches(value: ast.expr | None) -> list[ast.expr | None]:
    """Return the values between which an expression chooses."""
    if isinstance(value, ast.IfExp):
        return [*_branches(value.body), *_branches(value.orelse)]
    if isinstance(value, ast.BoolOp):
        return [item for one in value.values for item in _branches(one)]
    return [value]


def _literal(node: ast.expr) -> bool:
    """Whether an expression is the same in every run: it reads no name but of built-in types."""
    names = [item for item in ast.walk(node) if isinstance(item, ast.Name)]
    own = {item.id for item in names if isinstance(item.ctx, ast.Store)}
    return all(item.id in own | _MAKERS for item in names) and not isinstance(node, ast.Name)


def _expected(candidate: Candidate, texts: Texts, known: Known) -> str:
    """Refuse a model's new constant that stands in the failing test too.

    What is also a name in the patched file is the key of something, and no value.
    """
    if candidate.strategy != "language_model" and candidate.origin is not Origin.LLM:
        return ""

    def constants(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Constant):
            yield repr(node.value)

    def names(node: ast.AST) -> Iterator[str]:
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield repr(value)

    added = count(texts, constants, new=True) - count(texts, constants, new=False)
    for value in set(added) & known.expected - set(count(texts, names, new=True)):
        return f"it hard-codes a value of the failing test: {value} is new"
    return ""


def _alone(rule: Callable[[Candidate, Texts], str]) -> Rule:
    """Return a rule that asks for the patch alone."""
    return lambda candidate, texts, _: rule(candidate, texts)


_RULES: tuple[Rule, ...] = (
    _alone(outside),
    _alone(guarded_files),
    known_tests,
    _alone(size),
    lambda _, texts, __: _unparsable(texts),
    _alone(weakened),
    _alone(swallowed),
    _alone(hidden),
    _removed_calls,
    _alone(_removed_raises),
    _alone(_removed_imports),
    _alone(_removed_definitions),
    _alone(ignored),
    _alone(_hard_coded),
    _expected,
    _alone(meddled),
    _alone(unchecked),
)

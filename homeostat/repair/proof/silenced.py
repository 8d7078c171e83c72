"""Patches that silence a failure: it is caught, never reached, stopped before, or not checked."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Origin
from homeostat.repair.proof.difference import Texts, call_name, count, owner_name, parsed

_TEST_AWARE = (
    "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "HOMEOSTAT_SANDBOX", "HOMEOSTAT_RECORD_FD", "_pytest",
    "pytest", "unittest",
)  # fmt: skip
_STOPPING = frozenset({
    "_exit", "exit", "quit", "abort", "skip", "xfail", "importorskip", "skipif", "skipTest",
})  # fmt: skip
#: What ends a program, or a test, as if all were well.
_ENDS = frozenset({"SystemExit", "KeyboardInterrupt", "GeneratorExit", "SkipTest"})
_SUPPRESSING = frozenset({"suppress", "raises", "ExitStack", "AsyncExitStack"})
#: What pytest reads in a module or a plugin to leave tests out or to run them otherwise.
_READ_BY_PYTEST = frozenset({"pytestmark", "pytest_plugins", "__test__", "collect_ignore",
                             "collect_ignore_glob"})  # fmt: skip
#: Who asks a class what it holds, whether it is equal, or whether all went well.
_ANSWERS = {
    "__getattr__": "a __getattr__ that answers to any name",
    **{
        name: f"a {name} that says what is asked for"
        for name in (
            "__getattribute__", "__missing__", "__eq__", "__ne__", "__bool__", "__exit__",
            "__aexit__", "__instancecheck__", "__subclasscheck__", "__subclasshook__",
            "__init_subclass__", "__class_getitem__", "__contains__",
        )
    },
}  # fmt: skip
_RUNNERS = frozenset({"pytest", "_pytest", "unittest"})
_IMPORTS = (ast.Import, ast.ImportFrom)
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_QUIET = re.compile(r"#\s*(noqa|type:\s*ignore|ty:\s*ignore|pyright:|ruff:|mypy:|pragma:\s*no)")


def swallowed(candidate: Candidate, texts: Texts) -> str:
    """Refuse a new place at which an exception ends, or that answers to whatever is asked."""
    if candidate.origin is Origin.HISTORY:
        return ""

    def swallowing(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Try | ast.TryStar):
            yield from ("an exception handler" for one in node.handlers if _ends_here(node, one))
            if any(_leaves(item) for item in node.finalbody):
                yield "a finally block that leaves"
        elif isinstance(node, ast.alias) and node.asname and node.name in _SUPPRESSING:
            yield f"{node.name} as {node.asname}"
        elif isinstance(node, ast.Attribute) and owner_name(node) == "contextlib":
            yield from (f"{name}()" for name in _SUPPRESSING & {node.attr})
        elif call_name(node) in _SUPPRESSING:
            yield f"{call_name(node)}()"
        else:
            yield from (_ANSWERS[name] for name in _bound(node) if name in _ANSWERS)

    added = count(texts, swallowing, new=True) - count(texts, swallowing, new=False)
    return f"it catches and swallows: {next(iter(added))} is new" if added else ""


def _ends_here(block: ast.Try | ast.TryStar, handler: ast.ExceptHandler) -> bool:
    """Whether an exception may end in a handler.

    It does not where the handler always raises, or imports from elsewhere what is gone.
    """
    always = isinstance(handler.body[-1], ast.Raise)
    if always and not any(_leaves(item) for item in handler.body):
        return False
    only_imports = all(isinstance(item, _IMPORTS) for item in (*block.body, *handler.body))
    return not only_imports


def _leaves(node: ast.stmt) -> bool:
    """Whether a statement ends its function or loop, with whatever was on its way out."""
    kinds = (ast.Return, ast.Break, ast.Continue)
    return any(isinstance(item, kinds) for item in ast.walk(node))


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a definition or an assignment binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (item.id for item in node.targets if isinstance(item, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def weakened(candidate: Candidate, texts: Texts) -> str:
    """Refuse what ends the run early, speaks to the test runner, or removes an assertion."""
    lost = _asserts(texts, new=False) - _asserts(texts, new=True)
    won = _asserts(texts, new=True) - _asserts(texts, new=False)
    restored = candidate.origin is Origin.HISTORY
    if lost and not (restored and lost.total() <= won.total()):
        return "it removes an assertion"

    def weakening(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call) and call_name(node) in _STOPPING:
            yield f"a call of {call_name(node)}()"
        elif isinstance(node, ast.Attribute) and owner_name(node) in {"sys", "os"}:
            yield from (f"a call of {name}()" for name in _STOPPING & {node.attr})
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            yield from (f"the end by {one}" for one in _ENDS & {name})
        elif isinstance(node, ast.alias) and node.asname and node.name in _STOPPING | _ENDS:
            yield f"{node.name} as {node.asname}"
        elif isinstance(node, _IMPORTS):
            module = getattr(node, "module", None) or node.names[0].name
            bound = {item.asname or item.name.split(".")[0] for item in node.names}
            # A name that is read already was imported once.
            if module.split(".")[0] in _RUNNERS and not bound <= _names_read(texts):
                yield f"an import of {module}"
        elif isinstance(node, ast.Constant) and node.value in _TEST_AWARE:
            yield f"the constant {node.value!r}"
        else:
            yield from (
                f"{name}, which pytest reads,"
                for name in _bound(node)
                if name in _READ_BY_PYTEST or name.startswith("pytest_")
            )

    added = count(texts, weakening, new=True) - count(texts, weakening, new=False)
    return f"it weakens or looks at the tests: {next(iter(added))} is new" if added else ""


def _names_read(texts: Texts) -> set[str]:
    """Return the names that the files read before the patch."""
    trees = [parsed(before) for before, _ in texts.values() if before is not None]
    return {node.id for tree in trees if tree for node in tree[1] if isinstance(node, ast.Name)}


def _asserts(texts: Texts, *, new: bool) -> Counter[str]:
    """Count the assertions by their shape: a rename inside one is no other assertion."""

    def shapes(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Assert):
            yield re.sub(r"(id|attr|arg)='\w+'", "", ast.dump(node.test))

    return count(texts, shapes, new=new)


def hidden(candidate: Candidate, texts: Texts) -> str:
    """Refuse code that is there and never runs: behind a return, or under a constant condition."""
    if candidate.origin is Origin.HISTORY:
        return ""

    def dead(node: ast.AST) -> Iterator[str]:
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            for item in block[:-1] if isinstance(block, list) else ():
                if isinstance(item, _LEAVING):
                    yield f"code behind {ast.unparse(item).split()[0]}"
        if isinstance(node, ast.If | ast.IfExp) and _constant(node.test):
            yield "a condition that a constant decides"

    added = count(texts, dead, new=True) - count(texts, dead, new=False)
    if added:
        return f"it keeps code from being run: {next(iter(added))} is new"
    if candidate.may_defer_imports:
        return ""
    later = _for_checkers(texts, new=True) - _for_checkers(texts, new=False)
    moved = later & (_imported(texts, new=False) - _imported(texts, new=True))
    return f"it keeps the import of {next(iter(moved))} from being run" if moved else ""


def _constant(test: ast.expr) -> bool:
    """Whether a condition is decided by a constant, whatever else it asks."""
    if isinstance(test, ast.BoolOp):
        stop = isinstance(test.op, ast.Or)
        return any(
            isinstance(item, ast.Constant) and bool(item.value) is stop for item in test.values
        )
    if isinstance(test, ast.UnaryOp):
        return _constant(test.operand)
    if isinstance(test, ast.Compare):
        return all(isinstance(item, ast.Constant) for item in (test.left, *test.comparators))
    return isinstance(test, ast.Constant)


def _imported(texts: Texts, *, new: bool) -> Counter[str]:
    """Count the imports that are made while the program runs."""
    return count(texts, _names_imported, new=new) - _for_checkers(texts, new=new)


def _for_checkers(texts: Texts, *, new: bool) -> Counter[str]:
    """Count the imports that only the type checkers see."""

    def names(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in {*_words(node.test)}:
            for one in node.body:
                for item in ast.walk(one):
                    yield from _names_imported(item)

    return count(texts, names, new=new)


def _words(test: ast.expr) -> Iterator[str]:
    if isinstance(test, ast.Name):
        yield test.id
    elif isinstance(test, ast.Attribute):
        yield test.attr


def _names_imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _IMPORTS):
        yield from (item.asname or item.name for item in node.names)


def unchecked(candidate: Candidate, texts: Texts) -> str:
    """Refuse a new comment that tells a checker to say nothing."""
    if candidate.origin is Origin.HISTORY:
        return ""

    def comments(*, new: bool) -> Counter[str]:
        found: Counter[str] = Counter()
        for before, after in texts.values():
            found.update(item[0] for item in _QUIET.finditer((after if new else before) or ""))
        return found

    added = comments(new=True) - comments(new=False)
    return f"it silences a checker: {next(iter(added))} is new" if added else ""

"""What no patch may do, whatever the tests say: rules on the difference of two syntax trees.

Each rule returns the reason for a refusal, or nothing. A restore from history may bring back a
handler or a constant that stood there before; nothing else may.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator

from homeostat.repair.case import Candidate, Origin, Side
from homeostat.repair.evidence import all_arguments
from homeostat.repair.proof.difference import Texts, call_name, count, gone, parsed
from homeostat.repair.proof.touched_files import guarded_files, outside, size

_TEST_AWARE = (
    "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "HOMEOSTAT_SANDBOX", "HOMEOSTAT_RECORD_FD", "_pytest",
    "pytest", "unittest",
)  # fmt: skip
_STOPPING = {"_exit", "exit", "skip", "xfail", "importorskip", "skipif", "skipTest"}
_SUPPRESSING = {"suppress", "raises"}

Rule = Callable[[Candidate, Texts], str]


def refusal(candidate: Candidate, texts: Texts) -> str:
    """Return why the patch is refused, empty where it is not; `texts` is path → (before, after)."""
    if candidate.flaw:
        return candidate.flaw
    for rule in _RULES:
        reason = rule(candidate, texts)
        if reason:
            return reason
    return ""


def _unparsable(candidate: Candidate, texts: Texts) -> str:
    del candidate
    for path, (_, after) in texts.items():
        if after is None or not path.endswith(".py"):
            continue
        try:
            ast.parse(after)
        except (SyntaxError, ValueError) as error:
            return f"{path} does not parse: {error}"
    return ""


def _removed_calls(candidate: Candidate, texts: Texts) -> str:
    def calls(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call):
            yield call_name(node)

    def arguments(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                yield f"{call_name(node)}({keyword.arg}=…)"

    if candidate.origin is Origin.HISTORY:
        return ""
    lost = gone(texts, calls)
    if lost and not candidate.replaces_call:
        return f"it deletes the call of {next(iter(lost))}()"
    stripped = gone(texts, arguments)
    if stripped and candidate.side is Side.API:
        return f"it strips the argument {next(iter(stripped))} at a call site"
    return ""


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
    def definitions(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name

    lost = gone(texts, definitions)
    if lost and candidate.origin is not Origin.HISTORY:
        return f"it removes the definition of {next(iter(lost))}"
    return ""


def _swallowed(candidate: Candidate, texts: Texts) -> str:
    if candidate.origin is Origin.HISTORY:
        return ""

    def swallowing(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.ExceptHandler):
            kinds = (ast.Raise, ast.Import, ast.ImportFrom)
            if not any(isinstance(item, kinds) for item in node.body):
                yield "an exception handler"
        elif isinstance(node, ast.Try) and any(_leaves(item) for item in node.finalbody):
            yield "a finally block that leaves"
        elif isinstance(node, ast.alias) and node.asname and node.name in _SUPPRESSING:
            yield f"{node.name} as {node.asname}"
        elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            yield "a __getattr__ that answers to any name"
        elif call_name(node) in _SUPPRESSING:
            yield f"{call_name(node)}()"

    added = count(texts, swallowing, new=True) - count(texts, swallowing, new=False)
    return f"it catches and swallows: {next(iter(added))} is new" if added else ""


def _leaves(node: ast.stmt) -> bool:
    """Whether a statement ends its function or loop, with whatever was on its way out."""
    kinds = (ast.Return, ast.Break, ast.Continue)
    return any(isinstance(item, kinds) for item in ast.walk(node))


def _weakened(candidate: Candidate, texts: Texts) -> str:
    del candidate

    def weakening(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call) and call_name(node) in _STOPPING:
            yield f"a call of {call_name(node)}()"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or node.names[0].name
            if module.split(".")[0] in {"pytest", "_pytest", "unittest"}:
                yield f"an import of {module}"
        elif isinstance(node, ast.Constant) and node.value in _TEST_AWARE:
            yield f"the constant {node.value!r}"
        elif isinstance(node, ast.Assert):
            yield "assert"

    before, after = count(texts, weakening, new=False), count(texts, weakening, new=True)
    asserts = before.pop("assert", 0), after.pop("assert", 0)
    if asserts[1] < asserts[0]:
        return "it removes an assertion"
    added = after - before
    return f"it weakens or looks at the tests: {next(iter(added))} is new" if added else ""


def _hard_coded(candidate: Candidate, texts: Texts) -> str:
    if candidate.origin is Origin.HISTORY:
        return ""

    def constants(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Return) and node.value is not None and _literal(node.value):
            yield ast.unparse(node.value)

    added = count(texts, constants, new=True) - count(texts, constants, new=False)
    added.pop("None", None)
    return f"it hard-codes a result: return {next(iter(added))} is new" if added else ""


def _literal(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return all(_literal(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        return all(item is not None and _literal(item) for item in (*node.keys, *node.values))
    if isinstance(node, ast.UnaryOp):
        return _literal(node.operand)
    return isinstance(node, ast.Constant)


def _ignored(candidate: Candidate, texts: Texts) -> str:
    """Refuse a new parameter that the body never reads where its siblings are read."""
    del candidate
    for before, after in texts.values():
        if before is None or after is None:
            continue
        was, is_now = parsed(before), parsed(after)
        if was is None or is_now is None:
            continue
        old, new = _signatures(was[0]), _signatures(is_now[0])
        for qualname, (parameters, read) in new.items():
            if qualname not in old:
                continue
            siblings = old[qualname][0] - {"self", "cls"}
            for name in parameters - old[qualname][0]:
                renamed = bool(old[qualname][0] - parameters)
                if name not in read and not renamed and (siblings & read or not siblings):
                    return f"it adds the argument {name!r} to {qualname} and ignores it"
    return ""


def _signatures(module: ast.Module) -> dict[str, tuple[set[str], set[str]]]:
    found: dict[str, tuple[set[str], set[str]]] = {}

    def visit(node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                read = {
                    item.id
                    for statement in child.body
                    for item in ast.walk(statement)
                    if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load)
                } - _read_for_nothing(child)
                names = {item.arg for item in all_arguments(child.args)}
                if not _is_stub(child):
                    found[scope + child.name] = (names, read)
                visit(child, f"{scope}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{scope}{child.name}.")
            else:
                visit(child, scope)

    visit(module, "")
    return found


def _read_for_nothing(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names of which a body reads only this: `name`, or `_ = name`."""
    idle = Counter(
        node.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Expr | ast.Assign)
        and isinstance(node.value, ast.Name)
        and (
            isinstance(node, ast.Expr)
            or {ast.unparse(target) for target in node.targets} <= {"_", node.value.id}
        )
    )
    uses = Counter(
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )
    return {name for name, number in idle.items() if uses[name] == number}


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a body has only a docstring, `...`, `pass` or `raise`: an interface, not a deed."""
    return all(
        isinstance(item, ast.Pass | ast.Raise)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        for item in node.body
    )


_RULES: tuple[Rule, ...] = (
    outside,
    guarded_files,
    size,
    _unparsable,
    _weakened,
    _swallowed,
    _removed_calls,
    _removed_imports,
    _removed_definitions,
    _ignored,
    _hard_coded,
)

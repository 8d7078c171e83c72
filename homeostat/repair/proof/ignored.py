"""Accept and ignore: a parameter that is taken and then made nothing of."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from homeostat.repair.case import Candidate, Origin
from homeostat.repair.evidence import all_arguments
from homeostat.repair.index import FunctionNode
from homeostat.repair.proof.difference import Texts, parsed

#: Calls that only look at a value.
_LOOKS = frozenset({"str", "repr", "bool", "len", "id", "type", "hash", "isinstance", "callable",
                    "print", "list", "tuple", "dict", "set"})  # fmt: skip


@dataclass(frozen=True)
class _Signature:
    """A function's parameters, the names that its body does something with, and its `**` rest.

    `handed_on` says whether the rest goes whole to another call.
    """

    parameters: frozenset[str]
    read: frozenset[str]
    rest: str
    handed_on: bool


def ignored(candidate: Candidate, texts: Texts) -> str:
    """Refuse a new parameter that the body never reads where its siblings are read."""
    for before, after in texts.values():
        old, new = _functions(before), _functions(after)
        for qualname, function in new.items():
            if qualname not in old or ast.dump(old[qualname].args) == ast.dump(function.args):
                continue
            was, now = _signature(old[qualname]), _signature(function)
            added = now.parameters - was.parameters
            taken = was.parameters - now.parameters
            siblings = was.parameters - {"self", "cls"}
            unread = sorted(added - now.read)
            # Who renames a parameter that nobody read leaves it as it was.
            if len(unread) > len(taken - was.read) and (siblings & was.read or not siblings):
                return f"it adds the argument {unread[0]!r} to {qualname} and ignores it"
            if candidate.origin is not Origin.HISTORY and _takes_anything(was, now):
                return f"it lets {qualname} take whatever is given and ignores it"
    return ""


def _takes_anything(was: _Signature, now: _Signature) -> bool:
    """Whether a function takes any keyword now, and reads of them what suits it."""
    return bool(now.rest) and not was.rest and not now.handed_on


def _functions(text: str | None) -> dict[str, FunctionNode]:
    """Return the functions of a text by their qualified names, interfaces left out."""
    tree = parsed(text) if text is not None else None
    found: dict[str, FunctionNode] = {}

    def visit(node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                if not _is_stub(child):
                    found[scope + child.name] = child
                visit(child, f"{scope}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{scope}{child.name}.")
            elif isinstance(child, ast.stmt | ast.ExceptHandler):
                visit(child, scope)

    if tree is not None:
        visit(tree[0], "")
    return found


def _signature(function: FunctionNode) -> _Signature:
    names = frozenset(item.arg for item in all_arguments(function.args))
    rest = function.args.kwarg.arg if function.args.kwarg is not None else ""
    read = {
        node.id for node in _walk(function) if isinstance(node, ast.Name) and _is_read(node)
    } - _read_for_nothing(function)
    handed_on = any(
        item.arg is None and ast.unparse(item.value) == rest
        for node in _walk(function)
        if isinstance(node, ast.Call)
        for item in node.keywords
    )
    return _Signature(names, frozenset(read), rest, handed_on)


def _walk(function: FunctionNode) -> Iterator[ast.AST]:
    for statement in function.body:
        yield from ast.walk(statement)


def _is_read(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def _read_for_nothing(function: FunctionNode) -> set[str]:
    """Return the names that a body reads only where nothing comes of it."""
    uses = Counter(
        node.id for node in _walk(function) if isinstance(node, ast.Name) and _is_read(node)
    )
    for node in _walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            # Others read what is kept there.
            uses.update(node.names)
    idle: Counter[str] = Counter()
    for node in _walk(function):
        if isinstance(node, ast.stmt) and _is_idle(node, uses):
            parts = [node.test] if isinstance(node, ast.If | ast.While) else [node]
            idle.update(
                item.id
                for part in parts
                for item in ast.walk(part)
                if isinstance(item, ast.Name) and _is_read(item)
            )
    return {name for name, number in idle.items() if uses[name] <= number}


def _is_idle(node: ast.stmt, uses: Counter[str]) -> bool:
    """Whether nothing comes of a statement: a value that is dropped, or kept where nobody reads."""
    if isinstance(node, ast.Pass | ast.Assert | ast.Delete):
        return True
    if isinstance(node, ast.If | ast.While):
        return _does_nothing(node.test) and all(
            _is_idle(item, uses) for item in (*node.body, *node.orelse)
        )
    if isinstance(node, ast.Expr):
        return _does_nothing(node.value)
    if isinstance(node, ast.Assign) and _does_nothing(node.value):
        names = [item for target in node.targets for item in ast.walk(target)]
        own = {_word(node.value)}
        return all(
            isinstance(item, ast.Name | ast.Tuple | ast.expr_context)
            and (not isinstance(item, ast.Name) or not uses[item.id] or item.id in own)
            for item in names
        )
    return False


def _does_nothing(value: ast.expr) -> bool:
    """Whether to compute a value has no effect: it calls nothing but what only looks."""
    return all(
        not isinstance(node, ast.Call | ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr)
        or (isinstance(node, ast.Call) and _word(node.func) in _LOOKS)
        for node in ast.walk(value)
    )


def _is_stub(node: FunctionNode) -> bool:
    """Whether a body has only a docstring, `...`, `pass` or `raise`: an interface, not a deed."""
    return all(
        isinstance(item, ast.Pass | ast.Raise)
        or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
        for item in node.body
    )


def _word(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""

"""Patches that change a running program, or reach out of it, instead of mending its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Origin
from homeostat.repair.proof.difference import Texts, call_name, count, owner_name, parsed

#: Calls by which a program writes, reads or watches itself.
_REFLECTING = frozenset({
    "exec", "eval", "compile", "__import__", "import_module", "setattr", "delattr", "globals",
    "locals", "vars", "_getframe", "currentframe", "settrace", "setprofile", "addaudithook",
    "get_objects", "get_referrers", "__setattr__", "__delattr__",
})  # fmt: skip
#: Attributes that hold what a program is made of.
_INNER = frozenset({
    "__dict__", "__code__", "__defaults__", "__kwdefaults__", "__class__", "__bases__",
    "__globals__", "__builtins__", "__subclasses__", "__mro__", "__wrapped__", "excepthook",
    "meta_path", "path_hooks", "path_importer_cache",
})  # fmt: skip
_OF_SYS = frozenset({"modules", "path", "argv", "stdout", "stderr", "flags"})
#: What writes files, starts programs, or speaks to others.
_REACHING = frozenset({
    "write_text", "write_bytes", "unlink", "rmtree", "symlink_to",
    "system", "popen", "Popen", "check_call", "check_output", "run_path", "run_module",
    "killpg", "fork", "socket", "urlopen", "putenv", "dup2",
})  # fmt: skip
_WRITING = frozenset("wax+")


def meddled(candidate: Candidate, texts: Texts) -> str:
    """Refuse new reflection, new effects outside the program, and a name bound a second time."""
    if candidate.origin is Origin.HISTORY:
        return ""

    def acts(node: ast.AST) -> Iterator[str]:
        called = call_name(node)
        if called in _REFLECTING:
            yield f"a call of {called}()"
        elif called in _REACHING or (isinstance(node, ast.Call) and _writes(node, called)):
            yield f"a call of {called}(), which reaches out of the program,"
        elif isinstance(node, ast.Attribute):
            of_sys = node.attr in _OF_SYS and owner_name(node) == "sys"
            yield from (node.attr for _ in "." if of_sys or node.attr in _INNER)

    added = count(texts, acts, new=True) - count(texts, acts, new=False)
    if added:
        return f"it meddles with the running program: {next(iter(added))} is new"
    now = {name for _, after in texts.values() for name in _rebound(after)}
    for before, _ in texts.values() if now else ():
        now -= _rebound(before) | _assigned(before)
    return f"it replaces {min(now)} while the program runs" if now else ""


def _writes(node: ast.Call, called: str) -> bool:
    """Whether a call opens a file to write."""
    modes = [*node.args[1:2], *(item.value for item in node.keywords if item.arg == "mode")]
    return called == "open" and any(
        not isinstance(mode, ast.Constant) or bool(_WRITING & set(str(mode.value)))
        for mode in modes
    )


def _rebound(text: str | None) -> set[str]:
    """Return what a module binds twice, or sets on a module, a class or a function that it has."""
    tree = parsed(text) if text is not None else None
    if tree is None:
        return set()
    found: set[str] = set()
    defined: set[str] = set()
    for node in tree[0].body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # An overload, a setter and the like are decorated, and belong together.
            if node.name in defined and not node.decorator_list:
                found.add(node.name)
            defined.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {item.asname or item.name.split(".")[0] for item in node.names}
    for one in tree[1]:
        for target in _targets(one):
            owner = target.value if isinstance(target, ast.Attribute | ast.Subscript) else None
            if isinstance(owner, ast.Name) and owner.id in defined:
                found.add(ast.unparse(target))
    top = [target for node in tree[0].body for target in _targets(node)]
    return found | {item.id for item in top if isinstance(item, ast.Name) and item.id in defined}


def _assigned(text: str | None) -> set[str]:
    tree = parsed(text) if text is not None else None
    nodes = tree[1] if tree else ()
    return {ast.unparse(target) for node in nodes for target in _targets(node)}


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign):
        yield from node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor):
        yield node.target
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars

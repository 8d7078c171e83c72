"""Adding imports and exports in a file's own style, and moving an import to where it is used."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

import libcst as cst

from homeostat import syntax


@dataclass(frozen=True)
class Import:
    """`from {level dots}{module} import {name} as {alias}`; an empty name: `import module`."""

    module: str
    name: str = ""
    alias: str = ""
    level: int = 0

    @property
    def statement(self) -> str:
        """The statement as source."""
        suffix = f" as {self.alias}" if self.alias else ""
        if not self.name:
            return f"import {self.module}{suffix}"
        return f"from {'.' * self.level}{self.module} import {self.name}{suffix}"


class _Extend(cst.CSTTransformer):
    """Adds a name to the first top-level `from … import` of the same module."""

    def __init__(self, wanted: Import) -> None:
        self._wanted = wanted
        self._depth = 0
        self.done = False

    def visit_IndentedBlock(self, node: cst.IndentedBlock) -> bool:
        del node
        return False

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.BaseSmallStatement:
        del original_node
        names = updated_node.names
        if self.done or isinstance(names, cst.ImportStar) or not self._same_module(updated_node):
            return updated_node
        self.done = True
        alias = cst.ImportAlias(
            name=cst.Name(self._wanted.name),
            asname=(
                cst.AsName(
                    name=cst.Name(self._wanted.alias),
                    whitespace_before_as=cst.SimpleWhitespace(" "),
                    whitespace_after_as=cst.SimpleWhitespace(" "),
                )
                if self._wanted.alias
                else None
            ),
        )
        return updated_node.with_changes(names=_inserted(names, alias))

    def _same_module(self, node: cst.ImportFrom) -> bool:
        module = "" if node.module is None else cst.Module([]).code_for_node(node.module)
        return module == self._wanted.module and len(node.relative) == self._wanted.level


def _inserted(names: Sequence[cst.ImportAlias], alias: cst.ImportAlias) -> list[cst.ImportAlias]:
    """Insert in order where the names are in order, else at the end; keep one name a line."""
    texts = [str(item.evaluated_name) for item in names]
    new = str(alias.evaluated_name)
    position = len(texts)
    for key in (None, str.lower):
        if texts == sorted(texts, key=key):
            ordered = sorted([*texts, new], key=key)
            position = ordered.index(new)
            break
    items = list(names)
    if position < len(items):
        model = items[position - 1] if position else items[0]
        comma = model.comma
        if not isinstance(comma, cst.Comma):
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        return [*items[:position], alias.with_changes(comma=comma), *items[position:]]
    last = items[-1]
    between = items[-2].comma if len(items) > 1 else cst.MaybeSentinel.DEFAULT
    if not isinstance(between, cst.Comma):
        between = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [*items[:-1], last.with_changes(comma=between), alias.with_changes(comma=last.comma)]


def add_import(source: str, wanted: Import) -> str:
    """Add an import: to a statement of the same module where there is one, else as a new line."""
    lines = source.splitlines(keepends=True)
    sibling = _sibling(syntax.parse(source), wanted) if wanted.name else None
    if sibling is not None:
        first, last = sibling.lineno - 1, sibling.end_lineno or sibling.lineno
        # Only the statement itself is parsed anew: a whole module takes half a second.
        transformer = _Extend(wanted)
        statement = cst.parse_module("".join(lines[first:last])).visit(transformer)
        lines[first:last] = [statement.code]
        if transformer.done:
            return "".join(lines)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    position = _position(syntax.parse(source), wanted)
    if position and position <= len(lines) and not lines[position - 1].endswith(("\n", "\r")):
        lines[position - 1] += end
    lines.insert(position, wanted.statement + end)
    return "".join(lines)


def _sibling(module: ast.Module, wanted: Import) -> ast.ImportFrom | None:
    """Return the first top-level import of names from the same module."""
    for node in module.body:
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "", node.level) == (wanted.module, wanted.level)
            and node.names[0].name != "*"
        ):
            return node
    return None


def _position(module: ast.Module, wanted: Import) -> int:
    """Return the line index for a new import statement.

    Relative imports go after the last relative one, plain imports before the first import that
    follows in the alphabet, all after the docstring and `from __future__`.
    """
    start = 0
    imports: list[ast.Import | ast.ImportFrom] = []
    for node in module.body:
        if (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and not imports
        ) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            start = node.end_lineno or node.lineno
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
    if not imports:
        return start
    if wanted.level:
        relative = [node for node in imports if isinstance(node, ast.ImportFrom) and node.level]
        last = (relative or imports)[-1]
        return last.end_lineno or last.lineno
    for node in imports:
        if isinstance(node, ast.ImportFrom) and node.level:
            return node.lineno - 1
        if wanted.name == "" and isinstance(node, ast.ImportFrom):
            return node.lineno - 1
        named = node.names[0].name if isinstance(node, ast.Import) else str(node.module)
        alike = isinstance(node, ast.Import) is (wanted.name == "")
        if alike and named > wanted.module:
            return node.lineno - 1
    last = imports[-1]
    return last.end_lineno or last.lineno


def add_to_all(source: str, name: str) -> str | None:
    """Add `name` to a literal `__all__`, sorted where it is sorted; None where there is none."""
    for node in syntax.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Tuple)):
            continue
        target = node.targets[0]
        if not (isinstance(target, ast.Name) and target.id == "__all__" and node.value.elts):
            continue
        return _add_string(source, node.value, name)
    return None


def _add_string(source: str, value: ast.List | ast.Tuple, name: str) -> str | None:
    elements = [
        item
        for item in value.elts
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    if len(elements) != len(value.elts):
        return None
    texts = [str(item.value) for item in elements]
    position = len(texts)
    if texts == sorted(texts):
        position = sorted([*texts, name]).index(name)
    lines = source.splitlines(keepends=True)
    anchor = elements[min(position, len(elements) - 1)]
    quote = lines[anchor.lineno - 1].encode()[anchor.col_offset : anchor.col_offset + 1].decode()
    literal = f"{quote}{name}{quote}"
    line = lines[anchor.lineno - 1]
    alone = line.strip().rstrip(",").strip() == f"{quote}{anchor.value!s}{quote}"
    if alone:
        indent = line[: len(line) - len(line.lstrip())]
        end = line[len(line.rstrip("\r\n")) :]
        at = anchor.lineno - 1
        if position >= len(elements):
            if not line.rstrip().endswith(","):
                lines[at] = line.rstrip() + "," + end
            at += 1
        lines.insert(at, f"{indent}{literal},{end}")
        return "".join(lines)
    raw = line.encode()
    if position >= len(elements):
        column = anchor.end_col_offset or 0
        lines[anchor.lineno - 1] = (raw[:column] + f", {literal}".encode() + raw[column:]).decode()
    else:
        column = anchor.col_offset
        lines[anchor.lineno - 1] = (raw[:column] + f"{literal}, ".encode() + raw[column:]).decode()
    return "".join(lines)


def move_import(
    source: str, line: int, names: Sequence[str], functions: Sequence[int]
) -> str | None:
    """Take the top-level import at `line` away and put it first into the functions at those lines.

    `functions` are the first lines of function definitions (the `def` itself); with none, nothing
    needs the names while the program runs, and the import stays for type checkers alone.
    """
    module = syntax.parse(source)
    statement = next(
        (
            node
            for node in module.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            and node.lineno <= line <= (node.end_lineno or node.lineno)
        ),
        None,
    )
    if statement is None:
        return None
    lines = source.splitlines(keepends=True)
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    kept = [item for item in statement.names if _bound(item) not in names]
    moved = [item for item in statement.names if _bound(item) in names]
    inserts: list[tuple[int, str]] = []
    text = ast.unparse(_with_names(statement, moved))
    bodies = {
        node.lineno: node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for first in functions:
        body = bodies[first].body
        place = body[0]
        docstring = isinstance(place, ast.Expr) and isinstance(place.value, ast.Constant)
        if docstring and len(body) > 1:
            place = body[1]
        if place.lineno == first:
            return None
        at = min([place.lineno, *(item.lineno for item in getattr(place, "decorator_list", []))])
        inserts.append((at - 1, " " * place.col_offset + text + end))
    for at, inserted in sorted(inserts, reverse=True):
        lines.insert(at, inserted)
    first_line, last_line = statement.lineno - 1, statement.end_lineno or statement.lineno
    replacement = [ast.unparse(_with_names(statement, kept)) + end] if kept else []
    lines[first_line:last_line] = replacement
    result = "".join(lines)
    return result if functions else _for_type_checkers(result, text, end)


def _for_type_checkers(source: str, statement: str, end: str) -> str:
    """Put an import under `if TYPE_CHECKING`, where there is one, else after the last import."""
    lines = source.splitlines(keepends=True)
    for node in syntax.parse(source).body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            first = node.body[0]
            lines.insert(first.lineno - 1, " " * first.col_offset + statement + end)
            return "".join(lines)
    if not _binds(syntax.parse(source), "TYPE_CHECKING"):
        source = add_import(source, Import("typing", "TYPE_CHECKING"))
    at = 0
    for node in syntax.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _binds(node, "TYPE_CHECKING"):
            at = node.end_lineno or node.lineno
    lines = source.splitlines(keepends=True)
    lines[at:at] = [end, f"if TYPE_CHECKING:{end}", f"    {statement}{end}"]
    return "".join(lines)


def _binds(node: ast.Module | ast.stmt, name: str) -> bool:
    """Whether a module, or one of its statements, imports or assigns a name."""
    statements = node.body if isinstance(node, ast.Module) else [node]
    return any(
        (isinstance(item, ast.ImportFrom) and any(_bound(one) == name for one in item.names))
        or (isinstance(item, ast.Assign) and name in {ast.unparse(one) for one in item.targets})
        for item in statements
    )


def _bound(item: ast.alias) -> str:
    return item.asname or item.name.split(".")[0]


def _with_names(
    statement: ast.Import | ast.ImportFrom, names: Sequence[ast.alias]
) -> ast.Import | ast.ImportFrom:
    if isinstance(statement, ast.Import):
        return ast.Import(names=list(names))
    return ast.ImportFrom(module=statement.module, names=list(names), level=statement.level)

"""What a function does with its parameters, and doing the same with one more.

A sink is a place to which siblings go: an attribute of the object (`self.x = x`), an entry of a
dictionary (`"x": x`), or a keyword of a call (`Record(x=x)`).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from homeostat.repair.evidence import parameter_names
from homeostat.repair.index import Definition, FunctionNode, Index


@dataclass(frozen=True)
class Sink:
    """Insert `text` at (line, column) after the sibling; `whole_line` puts it on its own line.

    Lines count from the function's first line, so that a longer signature above does not matter.
    """

    words: str
    text: str
    line_from_end: int
    column: int
    whole_line: bool
    score: float


def sinks_of(index: Index, definition: Definition, name: str) -> list[Sink]:
    """Return where the siblings of a new parameter `name` go, the commonest sink first.

    The position is counted from the end of the file, because the new parameter may lengthen what
    stands above it and never what stands below.
    """
    function = definition.function
    parsed = index.parsed(definition.path)
    text = index.tree.read(definition.path)
    if function is None or parsed is None or text is None:
        return []
    siblings = [item for item in parameter_names(function) if item not in {"self", "cls"}]
    total = len(text.splitlines())
    found = [
        *_attributes(function, siblings, name, total),
        *_keywords(index, function, siblings, name, total),
        *_entries(function, siblings, name, total),
    ]
    found = [_on_its_own_line(sink, text.splitlines()) for sink in found]
    return sorted(found, key=lambda sink: -sink.score)


def _on_its_own_line(sink: Sink, lines: list[str]) -> Sink:
    """Where the sibling stands on a line of its own, so does the new one."""
    line = lines[len(lines) - sink.line_from_end - 1]
    if sink.whole_line or line[sink.column :].strip() != ",":
        return sink
    new = sink.text.removeprefix(", ")
    if "=" not in line.split("(")[0] and ":" not in line:
        return sink
    indent = len(line) - len(line.lstrip())
    return replace(sink, text=f"{new},", column=indent, whole_line=True)


def _share(count: int, siblings: list[str]) -> float:
    return 0.4 + 0.5 * count / max(1, len(siblings))


def _attributes(function: FunctionNode, siblings: list[str], name: str, total: int) -> list[Sink]:
    stores: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if (
            isinstance(target, ast.Attribute)
            and isinstance(target.value, ast.Name)
            and target.value.id in {"self", "cls"}
            and isinstance(value, ast.Name)
            and value.id in siblings
            and target.attr.lstrip("_") == value.id
        ):
            stores.append((node, target.attr[: len(target.attr) - len(value.id)]))
    if not stores:
        return []
    last, prefix = max(stores, key=lambda item: item[0].lineno)
    text = f"self.{prefix}{name} = {name}"
    line = total - (last.end_lineno or last.lineno)
    return [
        Sink(
            f"stored as self.{prefix}{name}, as {len(stores)} siblings are",
            text, line, last.col_offset, True, _share(len(stores), siblings),
        )
    ]  # fmt: skip


def _keywords(
    index: Index, function: FunctionNode, siblings: list[str], name: str, total: int
) -> list[Sink]:
    found = []
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or any(item.arg is None for item in node.keywords):
            continue
        same = [
            item
            for item in node.keywords
            if item.arg in siblings and _reads(item.value, str(item.arg))
        ]
        if not same or any(item.arg == name for item in node.keywords):
            continue
        target = (
            node.func.attr
            if isinstance(node.func, ast.Attribute)
            else (node.func.id if isinstance(node.func, ast.Name) else "")
        )
        takes = _takes(index, target, name)
        score = _share(len(same), siblings) + (0.2 if takes else -0.2)
        last = same[-1].value
        found.append(
            Sink(
                f"handed on to {target}() as {len(same)} siblings are",
                f", {name}={name}",
                total - (last.end_lineno or last.lineno),
                last.end_col_offset or 0,
                False,
                score,
            )
        )
    return found


def _reads(value: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))


def _takes(index: Index, callee: str, name: str) -> bool:
    """Whether something of that name in the tree has a parameter or field `name`."""
    for item in index.definitions(callee):
        if item.function is not None and name in parameter_names(item.function):
            return True
        for node in item.node.body if isinstance(item.node, ast.ClassDef) else ():
            field = isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
            made = isinstance(node, ast.FunctionDef) and node.name == "__init__"
            taken = parameter_names(node) if isinstance(node, ast.FunctionDef) and made else []
            if field or name in taken:
                return True
    return False


def _entries(function: FunctionNode, siblings: list[str], name: str, total: int) -> list[Sink]:
    found = []
    for node in ast.walk(function):
        if not isinstance(node, ast.Dict):
            continue
        same = [
            (key, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and key.value in siblings
            and _reads(value, str(key.value))
        ]  # fmt: skip
        if not same:
            continue
        last = same[-1][1]
        found.append(
            Sink(
                f"put into the record as {len(same)} siblings are",
                f', "{name}": {name}',
                total - (last.end_lineno or last.lineno),
                last.end_col_offset or 0,
                False,
                _share(len(same), siblings),
            )
        )
    return found


def carry_on(source: str, qualname: str, name: str, sink: Sink) -> str | None:
    """Insert a sink's text into a source whose signature has been lengthened above it."""
    del qualname, name
    lines = source.splitlines(keepends=True)
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    at = len(lines) - sink.line_from_end
    if not 0 < at <= len(lines):
        return None
    if sink.whole_line:
        lines.insert(at, " " * sink.column + sink.text + end)
    else:
        raw = lines[at - 1].encode()
        text = raw[: sink.column] + sink.text.encode() + raw[sink.column :]
        lines[at - 1] = text.decode()
    return "".join(lines)

"""Edits of one function's signature, found by its qualified name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from homeostat import syntax

Edit = Callable[[cst.FunctionDef], cst.FunctionDef]


class _OuterFunction(cst.CSTTransformer):
    """Applies an edit to the outermost function of a snippet, and leaves what is in it."""

    def __init__(self, edit: Edit) -> None:
        super().__init__()
        self._edit = edit

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Do not go into the function: the edit does what is to be done there."""
        del node
        return False

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        """Edit the function."""
        del original_node
        return self._edit(updated_node)


def edit_function(source: str, qualname: str, edit: Edit) -> str | None:
    """Apply `edit` to each function of that qualified name (overloads too); None if none is.

    Only the function's own lines are parsed anew, because a concrete tree of a large module
    takes half a second.
    """
    places = sorted(_places(syntax.parse(source), "", qualname), reverse=True)
    lines = source.splitlines(keepends=True)
    for first, last in places:
        snippet = "".join(lines[first - 1 : last])
        indented = snippet[:1] in {" ", "\t"}
        head = "if True:\n" if indented else ""
        edited = cst.parse_module(head + snippet).visit(_OuterFunction(edit)).code
        lines[first - 1 : last] = [edited.removeprefix(head)]
    return "".join(lines) if places else None


def _places(node: ast.AST, scope: str, qualname: str) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of each function of that name, decorators included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _places(child, f"{scope}{child.name}.", qualname)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if scope + child.name == qualname:
                first = min([child.lineno, *(item.lineno for item in child.decorator_list)])
                yield first, child.end_lineno or child.lineno
            yield from _places(child, f"{scope}{child.name}.<locals>.", qualname)
        else:
            yield from _places(child, scope, qualname)


class _RenameInBody(cst.CSTTransformer):
    """Renames the uses of a local name, and leaves attributes, keywords and shadows alone."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        return not _binds(node.params, self._old)

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        return not _binds(node.params, self._old)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        del original_node
        return (
            updated_node.with_changes(value=self._new)
            if (updated_node.value == self._old)
            else updated_node
        )

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)


def _all_parameters(params: cst.Parameters) -> list[cst.Param]:
    return [*params.posonly_params, *params.params, *params.kwonly_params]


def _binds(params: cst.Parameters, name: str) -> bool:
    return any(param.name.value == name for param in _all_parameters(params))


def _change_parameter(
    params: cst.Parameters, name: str, change: Callable[[cst.Param], cst.Param]
) -> cst.Parameters:
    def each(group: Sequence[cst.Param]) -> list[cst.Param]:
        return [change(param) if param.name.value == name else param for param in group]

    return params.with_changes(
        posonly_params=each(params.posonly_params),
        params=each(params.params),
        kwonly_params=each(params.kwonly_params),
    )


def rename_parameter(source: str, qualname: str, old: str, new: str) -> str | None:
    """Rename a parameter in the signature and in the body."""

    def edit(node: cst.FunctionDef) -> cst.FunctionDef:
        params = _change_parameter(
            node.params, old, lambda param: param.with_changes(name=cst.Name(new))
        )
        body = node.body.visit(_RenameInBody(old, new))
        return node.with_changes(params=params, body=body)

    return edit_function(source, qualname, edit)


def _equal_sign(param: cst.Param) -> cst.AssignEqual:
    """Spaces around `=` as the style guide has them: only where there is an annotation."""
    space = cst.SimpleWhitespace(" " if param.annotation is not None else "")
    return cst.AssignEqual(whitespace_before=space, whitespace_after=space)


def set_default(source: str, qualname: str, name: str, default: str) -> str | None:
    """Give a parameter a default value."""

    def change(param: cst.Param) -> cst.Param:
        return param.with_changes(
            default=cst.parse_expression(_double_quoted(default)), equal=_equal_sign(param)
        )

    return edit_function(
        source,
        qualname,
        lambda node: node.with_changes(params=_change_parameter(node.params, name, change)),
    )


@dataclass(frozen=True)
class NewParameter:
    """A parameter to add: before the one named, keyword-only where there are such, else last."""

    name: str
    default: str
    annotation: str = ""
    before: str = ""


def add_parameter(source: str, qualname: str, new: NewParameter) -> str | None:
    """Add a parameter with a default, at the end of the signature where no place is named."""
    param = cst.Param(
        name=cst.Name(new.name),
        annotation=cst.Annotation(cst.parse_expression(new.annotation)) if new.annotation else None,
        default=cst.parse_expression(_double_quoted(new.default)),
    )
    param = param.with_changes(equal=_equal_sign(param))

    def edit(node: cst.FunctionDef) -> cst.FunctionDef:
        params = node.params
        names = [item.name.value for item in _all_parameters(params)]
        if new.name in names:
            # An overload has kept it.
            return node
        names = [item.name.value for item in params.params]
        if new.before in names:
            at = names.index(new.before)
            between = cst.Comma(whitespace_after=_after(params.params, at))
            spaced = param.with_changes(comma=between)
            group = [*params.params[:at], spaced, *params.params[at:]]
            return node.with_changes(params=params.with_changes(params=group))
        if params.kwonly_params:
            return node.with_changes(
                params=params.with_changes(kwonly_params=_appended(params.kwonly_params, param))
            )
        if isinstance(params.star_arg, cst.Param):
            return node.with_changes(params=params.with_changes(kwonly_params=[param]))
        return node.with_changes(params=params.with_changes(params=_appended(params.params, param)))

    return edit_function(source, qualname, edit)


def _double_quoted(value: str) -> str:
    """Write a plain string literal with the quotes that most projects use."""
    if len(value) >= 2 and value[0] == value[-1] == "'" and '"' not in value and "\\" not in value:
        return f'"{value[1:-1]}"'
    return value


def _after(group: Sequence[cst.Param], at: int) -> cst.BaseParenthesizableWhitespace:
    """Return the space that follows a parameter's comma, as its neighbour has it."""
    comma = group[at - 1].comma if at else cst.MaybeSentinel.DEFAULT
    return comma.whitespace_after if isinstance(comma, cst.Comma) else cst.SimpleWhitespace(" ")


def _appended(group: Sequence[cst.Param], param: cst.Param) -> list[cst.Param]:
    if not group:
        return [param]
    *front, last = group
    between = front[-1].comma if front else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [*front, last.with_changes(comma=between), param.with_changes(comma=last.comma)]


def parses(source: str) -> bool:
    """Whether a text is valid Python."""
    try:
        syntax.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True

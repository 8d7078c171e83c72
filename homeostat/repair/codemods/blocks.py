"""Replacing one run of statements by another, wherever it stands in a file.

Statements are the same where their syntax trees are: indentation, spacing and quotes do not count,
so a run is found at any depth. What holds a comment is left alone, because the comment says
something that the replacement does not know.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TypeVar

import libcst as cst
from libcst import matchers

from homeostat import syntax

Block = TypeVar("Block", cst.Module, cst.IndentedBlock)
_Statements = Sequence[cst.BaseStatement]
_WORDS = re.compile(r"[A-Za-z_]\w*")


def is_block(text: str) -> bool:
    """Return whether the text is a run of whole statements, as `replace_block` can look for."""
    try:
        return bool(syntax.parse(text).body)
    except SyntaxError:
        return False


def replace_block(source: str, was: str, becomes: str) -> str:
    """Replace each run of statements that is `was`; the text is unchanged where there is none.

    A run that is a part of `becomes` already was replaced before. Raises SyntaxError where `was`
    or `becomes` is no run of statements; a source that cannot be read is left as it is.
    """
    # A concrete tree of a large module takes half a second, and most lack some word of the run.
    if not set(_WORDS.findall(was)) <= set(_WORDS.findall(source)):
        return source
    try:
        module = cst.parse_module(source)
    except cst.ParserSyntaxError:
        return source
    replacing = _Replacing(was, becomes)
    changed = module.visit(replacing)
    return changed.code if replacing.count else source


class _Replacing(cst.CSTTransformer):
    def __init__(self, was: str, becomes: str) -> None:
        super().__init__()
        self._was = [ast.dump(one) for one in syntax.parse(was).body]
        self._becomes = [ast.dump(one) for one in syntax.parse(becomes).body]
        self._new = cst.parse_module(becomes).body
        self.count = 0

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """Replace among the statements of the module itself."""
        del original_node
        return updated_node.with_changes(body=self._replaced(updated_node.body))

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        """Replace among the statements of one block."""
        del original_node
        return updated_node.with_changes(body=self._replaced(updated_node.body))

    def _replaced(self, body: _Statements) -> list[cst.BaseStatement]:
        dumps = [_dump(one) for one in body]
        made: list[cst.BaseStatement] = []
        place = 0
        while place < len(body):
            done, found = (self._stands(wanted, dumps, place) for wanted in self._wanted())
            run = body[place : place + (done or found or 1)]
            if found and not done and not _commented(run):
                made += _dressed(self._new, run[0])
                self.count += 1
            else:
                made += run
            place += len(run)
        return made

    def _wanted(self) -> tuple[list[str], list[str]]:
        return self._becomes, self._was

    @staticmethod
    def _stands(wanted: list[str], dumps: list[str], place: int) -> int:
        """Return how many statements the run is long where it stands here, else 0."""
        return len(wanted) if dumps[place : place + len(wanted)] == wanted else 0


def _dump(statement: cst.BaseStatement) -> str:
    """Return the syntax tree; one line of several statements is none that a run is made of."""
    code = cst.Module([]).code_for_node(statement)
    try:
        parsed = syntax.parse(code).body
    except SyntaxError:
        return ""
    return ast.dump(parsed[0]) if len(parsed) == 1 else ""


def _commented(run: _Statements) -> bool:
    first = run[0].with_changes(leading_lines=())
    return any(matchers.findall(one, matchers.Comment()) for one in (first, *run[1:]))


def _dressed(new: _Statements, old: cst.BaseStatement) -> list[cst.BaseStatement]:
    """Return the new statements, the first with what stood above the old one."""
    lines = getattr(old, "leading_lines", ())
    return [new[0].with_changes(leading_lines=lines), *new[1:]]

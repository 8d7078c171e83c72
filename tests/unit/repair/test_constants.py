"""Where a parameter was read before somebody wrote its default in its place."""

from __future__ import annotations

import ast

import pytest

from homeostat.repair.codemods.constants import read_instead, traces_of

SOURCE = '''\
def label(text, sep):
    """Label, if not False."""
    if not False:
        text = text.lower()
    return join(text, sep, strict=False), False
'''


def function(source: str) -> ast.FunctionDef:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def test_a_constant_condition_is_where_a_parameter_was_read() -> None:
    best = traces_of(function(SOURCE), "keep", {bool})[0]
    assert read_instead(SOURCE, best, "keep") == SOURCE.replace("if not False:\n", "if not keep:\n")


def test_a_keyword_of_that_name_is_handed_on() -> None:
    best = traces_of(function(SOURCE.replace("if not False", "if text")), "strict", {bool})[0]
    assert "strict=strict" in read_instead(SOURCE, best, "strict")


@pytest.mark.parametrize("given", [{str}, {int}])
def test_a_constant_of_another_type_than_callers_give_is_no_trace(given: set[type]) -> None:
    assert traces_of(function(SOURCE), "keep", given) == []


def test_an_attribute_of_that_name_was_set_from_the_parameter() -> None:
    source = "def make(self, text):\n    self.text = text\n    self.note = None\n    return None\n"
    best = traces_of(function(source), "note", set())[0]
    assert read_instead(source, best, "note") == source.replace("note = None", "note = note")


def test_it_is_certain_where_nobody_writes_that_constant() -> None:
    source = (
        "def make(self, text):\n    self.note = None\n    if not None:\n        go(note=None)\n"
    )
    assert [trace.certain for trace in traces_of(function(source), "note", set())] == [True]


@pytest.mark.parametrize("line", ["return None", "go(None)", "self.other = None", "x = y or None"])
def test_another_place_of_the_constant_makes_it_a_guess(line: str) -> None:
    source = f"def make(self, text):\n    self.note = None\n    {line}\n"
    assert not any(trace.certain for trace in traces_of(function(source), "note", set()))

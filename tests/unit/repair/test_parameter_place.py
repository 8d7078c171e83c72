"""Where a parameter that is gone stood: what the docstring, namesakes, calls and the body tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.codemods.functions import NewParameter, add_parameter
from homeostat.repair.index import Definition, Index
from homeostat.repair.parameter_place import before_which, is_told
from homeostat.repair.tree import Tree

PLAIN = "def span(most=None, note=None):\n    return most, note\n"
TOLD = (
    'def span(most=None, note=None):\n    """Span.\n\n    :param least: from\n'
    '    :param most: to\n    :param note: why\n    """\n    return most, note\n'
)

#: The same, the parameter between the two others.
MIDDLE = TOLD.replace("    :param least: from\n", "").replace(
    ": to\n", ": to\n    :param least: -\n"
)


def index_of(folder: Path, source: str, more: str = "") -> tuple[Index, Definition]:
    (folder / "spans.py").write_text(source)
    (folder / "more.py").write_text(more)
    index = Index(Tree(folder))
    return index, index.in_file("spans.py", "span")[0]


@pytest.mark.parametrize(
    ("source", "more", "place"),
    [
        (PLAIN, "", ""),
        (TOLD, "", "most"),
        (MIDDLE, "", "note"),
        (PLAIN, "def other(most=None, least=None, note=None): ...\n", "note"),
        (PLAIN, "from spans import span\nspan(least=1, most=2)\n", "most"),
        (PLAIN, "from spans import span\nspan(most=2, least=1)\n", ""),
    ],
)  # fmt: skip
def test_it_stands_where_the_order_of_the_others_is_known(
    tmp_path: Path, source: str, more: str, place: str
) -> None:
    index, definition = index_of(tmp_path, source, more)
    assert before_which(index, definition, "least", []) == place


def test_it_stands_where_the_body_comes_to_it(tmp_path: Path) -> None:
    source = "def span(most=None):\n    return None, most\n"
    index, definition = index_of(tmp_path, source)
    assert definition.function is not None
    constant = definition.function.body[0].value.elts[0]  # type: ignore[attr-defined]  # a tuple
    assert before_which(index, definition, "least", [constant]) == "most"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (TOLD, True),
        (PLAIN, False),
        (TOLD.replace(":param note: why", ""), False),
        ("def span(name):\n    return name\n", True),
    ],
)
def test_its_place_is_told_by_a_whole_docstring_or_where_it_has_no_rival(
    tmp_path: Path, source: str, *, told: bool
) -> None:
    assert is_told(index_of(tmp_path, source)[1], "least") is told


def test_it_is_put_before_the_one_that_is_named() -> None:
    new = NewParameter("least", "None", before="note")
    assert (add_parameter(PLAIN, "span", new) or "").startswith(
        "def span(most=None, least=None, note=None):"
    )


def test_an_overload_that_has_kept_it_stays_as_it_is() -> None:
    kept = "@overload\ndef span(most=None, least=None): ...\n"
    added = add_parameter(kept + PLAIN, "span", NewParameter("least", "None"))
    assert added == kept + PLAIN.replace("note=None", "note=None, least=None")

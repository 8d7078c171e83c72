"""Which definition a failed call was about, where a decorator stands between."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.callee import find_callee
from homeostat.repair.failure import Failure, Fault
from homeostat.repair.index import Index
from homeostat.repair.localise import symptoms_of
from homeostat.repair.tree import Tree

DECORATED = "@composite\ndef span(draw, least=0):\n    return draw, least\n"
PLAIN = DECORATED.removeprefix("@composite\n")


@pytest.mark.parametrize(
    ("source", "subject", "line"),
    [
        (DECORATED, "accept.<locals>.span", 1),
        (DECORATED, "span", 1),
        (DECORATED, "Other.span", None),
        (PLAIN, "accept.<locals>.span", None),
        (DECORATED + "\n\n" + DECORATED, "accept.<locals>.span", None),
    ],
)
def test_a_wrapper_that_took_the_name_over_leads_to_the_one_it_decorates(
    tmp_path: Path, source: str, subject: str, line: int | None
) -> None:
    (tmp_path / "spans.py").write_text(source)
    message = f"{subject}() got an unexpected keyword argument 'most'"
    (symptom,) = symptoms_of(Failure((Fault("TypeError", message),), "", 1))
    found = find_callee(Index(Tree(tmp_path)), symptom)
    assert (found.line if found else None) == line

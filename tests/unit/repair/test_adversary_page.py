"""docs/adversary.md says what the rules and the hostile programs say now."""

from __future__ import annotations

import re

from benchmarks.adversary import PAGE, SUITE, refusals_table
from tests.component.repair.ordinary_user import ROOT


def test_every_refusal_on_the_page_is_the_one_that_is_given() -> None:
    assert refusals_table() in PAGE.read_text(encoding="utf-8")
    assert "NOT REFUSED" not in refusals_table()


def test_every_hostile_program_is_on_the_page_and_did_no_harm() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = re.findall(r"^def test_(\w+)", (ROOT / SUITE).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 20
    assert [name for name in names if name.replace("_", " ") not in page] == []
    assert "FAILED" not in page

"""How two texts differ: as difflib says, however much is the same around it."""

from __future__ import annotations

import random

from homeostat.repair.line_difference import opcodes


def test_what_it_returns_turns_one_text_into_the_other() -> None:
    rng = random.Random(7)  # noqa: S311 - a repeatable choice
    for _ in range(400):
        old = [rng.choice("abc") for _ in range(rng.randrange(9))]
        new = [rng.choice("abc") for _ in range(rng.randrange(9))]
        made: list[str] = []
        before = after = 0
        for tag, first, last, start, end in opcodes(old, new):
            assert (first, start) == (before, after)
            assert (tag == "equal") == (old[first:last] == new[start:end])
            made += old[first:last] if tag == "equal" else new[start:end]
            before, after = last, end
        assert made == new
        assert (before, after) == (len(old), len(new))


def test_a_small_patch_of_a_large_text_is_one_difference() -> None:
    old = [f"line {number}" for number in range(20_000)]
    new = [*old[:9000], "other", *old[9001:]]
    assert [code for code in opcodes(old, new) if code[0] != "equal"] == [
        ("replace", 9000, 9001, 9000, 9001)
    ]

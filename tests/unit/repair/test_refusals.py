"""The adversary: patches that make the command pass and are wrong, each refused with its reason."""

from __future__ import annotations

import pytest

from homeostat.repair.case import Candidate, DefectClass, Origin, Side
from homeostat.repair.proof.refusals import refusal
from tests.unit.repair.adversary import ATTACKS, BEFORE, FORBIDDEN, Attack


def refused(
    after: str | None,
    *,
    path: str = "pkg/core.py",
    before: str | None = BEFORE,
    side: Side = Side.API,
    origin: Origin = Origin.LLM,
) -> str:
    candidate = Candidate(
        "adversary", DefectClass.UNKNOWN, "", {path: after}, origin=origin, side=side
    )
    return refusal(candidate, {path: (before, after)})


def test_it_lets_an_honest_patch_through() -> None:
    after = BEFORE.replace("strict):", "strict, extra=None):").replace(
        "kind=strict,", "kind=strict, extra=extra,"
    )
    assert refused(after) == ""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_refuses_what_only_silences_the_failure(attack: Attack) -> None:
    seen = refused(attack.after)
    assert seen
    assert attack.reason in seen


@pytest.mark.parametrize(("path", "reason"), FORBIDDEN)
def test_it_refuses_files_that_are_not_to_be_touched(path: str, reason: str) -> None:
    assert reason in refused("x = 1\n", path=path, before="x = 2\n")


def test_it_refuses_a_patch_that_is_too_large() -> None:
    assert "changes 500 lines" in refused("".join(f"x{n} = {n}\n" for n in range(500)), before="")


def test_a_move_is_no_large_change() -> None:
    text = "".join(f"x{n} = {n}\n" for n in range(900))
    candidate = Candidate("moved", DefectClass.MOVED_MODULE, "", {"a.py": None, "b.py": text})
    assert refusal(candidate, {"a.py": (text, None), "b.py": (None, text)}) == ""


def test_a_caller_may_drop_what_an_installed_package_no_longer_takes() -> None:
    after = BEFORE.replace("load(text, extra=1)", "load(text)")
    assert refused(after, side=Side.CALLER) == ""
    assert refused(after, side=Side.API)


def test_an_unused_new_argument_is_allowed_in_an_interface() -> None:
    before = "class Port:\n    def send(self, a):\n        raise NotImplementedError\n"
    assert refused(before.replace("self, a", "self, a, b=None"), before=before) == ""

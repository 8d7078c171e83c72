"""The adversary: patches that make the command pass and are wrong, each refused with its reason."""

from __future__ import annotations

import pytest

from homeostat.repair.case import Candidate, DefectClass, Origin, Side
from homeostat.repair.proof.known import Known
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


def test_what_the_repository_defines_is_not_exchanged_for_another_call() -> None:
    before = "def use(text):\n    return load(text)\n"
    candidate = Candidate("model", DefectClass.UNKNOWN, "", {"a.py": ""}, origin=Origin.LLM)
    texts = {"a.py": (before, before.replace("load(", "store("))}
    assert refusal(candidate, texts) == ""
    seen = refusal(candidate, texts, Known(is_own=lambda name: name == "load"))
    assert seen == "it deletes the call of load()"


def test_a_models_constant_that_the_failing_test_holds_is_refused() -> None:
    before = "def half(price):\n    return price * 2\n"
    after = before.replace("price * 2", "price - 17")
    candidate = Candidate("model", DefectClass.UNKNOWN, "", {"a.py": after}, origin=Origin.LLM)
    known = Known(expected=frozenset({"17", "'price'"}))
    assert "a value of the failing test: 17" in refusal(candidate, {"a.py": (before, after)}, known)
    keyed = before.replace("price * 2", "{'price': price}")
    assert refusal(candidate, {"a.py": (before, keyed)}, known) == ""


def test_a_file_that_pytest_found_tests_in_is_a_test_by_whatever_name() -> None:
    candidate = Candidate("model", DefectClass.UNKNOWN, "", {}, origin=Origin.LLM)
    known = Known(tests=frozenset({"checks/prices.py"}))
    texts = {"checks/prices.py": ("x = 1\n", "x = 2\n")}
    assert refusal(candidate, texts, known) == "it edits the test checks/prices.py"
    assert refusal(candidate, texts) == ""


@pytest.mark.parametrize("path", ["json.py", "src/pytest.py", "pluggy/__init__.py"])
def test_a_new_file_may_not_stand_in_for_another_module(path: str) -> None:
    assert "in the place of the module" in refused("x = 1\n", path=path, before=None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Imports from elsewhere what is gone, and fails where that is gone too.
        ("from a import b\n", "try:\n    from a import b\nexcept ImportError:\n    from c import b\n"),
        # Tells more and raises.
        ("f()\n", "try:\n    f()\nexcept OSError as error:\n    print(1)\n    raise E from error\n"),
        # The name was imported once.
        ("def f():\n    return unittest.mock\n", "import unittest.mock\n\ndef f():\n    return unittest.mock\n"),
        ("import sys\n\ndef f(a_):\n    assert a_\n", "import sys\n\ndef f(a):\n    assert a\n"),
        # Keeps what it is given where others read it.
        ("def f(a):\n    g(a)\n", "def f(a, b=None):\n    global KEPT\n    KEPT = b\n    g(a)\n"),
        ("def f(a):\n    g(a)\n", "def f(a, **more):\n    g(a, **more)\n"),
        # A parameter that nobody read has its name back.
        ("def f(a, b_):\n    g(a)\n", "def f(a, b):\n    g(a)\n"),
    ],
)  # fmt: skip
def test_an_honest_patch_is_let_through(before: str, after: str) -> None:
    assert refused(after, before=before) == ""


def test_a_replay_of_a_restore_may_bring_back_what_stood_there() -> None:
    before, after = "def f():\n    g()\n", "def f():\n    return 42\n"
    candidate = Candidate("version_history", DefectClass.UNKNOWN, "", {"a.py": after},
                          origin=Origin.KNOWLEDGE)  # fmt: skip
    assert refusal(candidate, {"a.py": (before, after)}) == ""
    other = Candidate("language_model", DefectClass.UNKNOWN, "", {"a.py": after},
                      origin=Origin.KNOWLEDGE)  # fmt: skip
    assert refusal(other, {"a.py": (before, after)})

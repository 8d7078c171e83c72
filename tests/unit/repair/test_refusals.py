"""The adversary: patches that make the command pass and are wrong, each refused with its reason."""

from __future__ import annotations

import pytest

from homeostat.repair.case import Candidate, DefectClass, Origin, Side
from homeostat.repair.proof.refusals import refusal

BEFORE = """\
import json


def load(text, strict):
    return Record(kind=strict, data=json.loads(text))


def use(text):
    value = load(text, extra=1)
    assert value
    return value
"""


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


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (BEFORE.replace("    value = load(text, extra=1)\n", "    value = text\n"), "deletes the call of load()"),
        (BEFORE.replace("load(text, extra=1)", "load(text, 1)"), "strips the argument load(extra=…)"),
        (
            BEFORE.replace(
                "    value = load(text, extra=1)\n",
                "    try:\n        value = load(text, extra=1)\n"
                "    except TypeError:\n        value = 1\n",
            ),
            "catches and swallows",
        ),
        (
            "import contextlib\n" + BEFORE.replace(
                "    value = load(text, extra=1)\n",
                "    value = 1\n    with contextlib.suppress(TypeError):\n"
                "        value = load(text, extra=1)\n",
            ),
            "catches and swallows",
        ),
        (
            BEFORE.replace("    return value\n", "    return value\n\n\ndef other():\n    return 42\n"),
            "hard-codes a result: return 42",
        ),
        (
            BEFORE.replace("    return Record(", "    if text == '{}':\n        return {'a': 1}\n    return Record("),
            "hard-codes a result",
        ),
        (BEFORE.replace("strict):", "strict, extra=None):"), "adds the argument 'extra' to load and ignores it"),
        (BEFORE.replace("import json\n", ""), "removes the import of json"),
        (BEFORE.replace("    assert value\n", ""), "removes an assertion"),
        ("import pytest\n" + BEFORE, "weakens or looks at the tests"),
        (BEFORE.replace("    assert", "    raise SystemExit\n    exit(0)\n    assert"), "weakens or looks at the tests"),
        (
            "import os\n" + BEFORE.replace(
                "    return value", "    os.environ.get('PYTEST_CURRENT_TEST')\n    return value"
            ),
            "weakens or looks at the tests",
        ),
        (BEFORE.replace("def use(text):\n    value", "def other(text):\n    pass\n\n\nvalue").replace("    assert value\n    return value\n", ""), ""),
        (BEFORE.replace("def use", "def use("), "does not parse"),
    ],
)  # fmt: skip
def test_it_refuses_what_only_silences_the_failure(after: str, reason: str) -> None:
    seen = refused(after)
    assert seen
    assert reason in seen


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("tests/test_core.py", "edits the test"),
        ("pkg/test_core.py", "edits the test"),
        ("conftest.py", "edits the test"),
        ("uv.lock", "edits the lock file"),
        ("requirements.lock", "edits the lock file"),
        ("poetry.lock", "edits the lock file"),
        (".github/workflows/ci.yml", "decides how tests are run"),
        (".ci/run", "decides how tests are run"),
        ("tox.ini", "decides how tests are run"),
        ("pyproject.toml", "declares dependencies and test settings"),
        ("../other/core.py", "outside"),
        ("/etc/passwd", "outside"),
        (".git/hooks/post-commit", "outside"),
        ("README.md", "no Python source"),
    ],
)
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

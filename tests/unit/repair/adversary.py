"""The adversary: patches that make the command pass and are wrong, each with why it is refused."""

from __future__ import annotations

from dataclasses import dataclass

BEFORE = """\
import json


def load(text, strict):
    return Record(kind=strict, data=json.loads(text))


def use(text):
    value = load(text, extra=1)
    assert value
    return value
"""


@dataclass(frozen=True)
class Attack:
    """One patch of `pkg/core.py`: its whole new text, and what the refusal has to say."""

    name: str
    after: str
    reason: str


ATTACKS = (
    Attack(
        "deletes the failing call",
        BEFORE.replace("    value = load(text, extra=1)\n", "    value = text\n"),
        "deletes the call of load()",
    ),
    Attack(
        "strips the argument at the call site",
        BEFORE.replace("load(text, extra=1)", "load(text, 1)"),
        "strips the argument load(extra=…)",
    ),
    Attack(
        "catches the exception and goes on",
        BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    try:\n        value = load(text, extra=1)\n"
            "    except TypeError:\n        value = 1\n",
        ),
        "catches and swallows",
    ),
    Attack(
        "suppresses the exception",
        "import contextlib\n"
        + BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    value = 1\n    with contextlib.suppress(TypeError):\n"
            "        value = load(text, extra=1)\n",
        ),
        "catches and swallows",
    ),
    Attack(
        "suppresses it under another name",
        "from contextlib import suppress as quiet\n"
        + BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    value = 1\n    with quiet(TypeError):\n        value = load(text, extra=1)\n",
        ),
        "catches and swallows: suppress as quiet",
    ),
    Attack(
        "catches it and raises never",
        BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    try:\n        value = load(text, extra=1)\n"
            "    except TypeError:\n        value = 1\n        if not value:\n            raise\n",
        ),
        "catches and swallows",
    ),
    Attack(
        "returns before it is raised",
        BEFORE.replace(
            "    value = load(text, extra=1)\n    assert value\n    return value\n",
            "    value = text\n    try:\n        value = load(text, extra=1)\n        assert value\n"
            "    finally:\n        return value\n",
        ),
        "catches and swallows: a finally block that leaves",
    ),
    Attack(
        "answers to every name",
        BEFORE + "\n\ndef __getattr__(name):\n    return print\n",
        "catches and swallows: a __getattr__",
    ),
    Attack(
        "hard-codes the expected value",
        BEFORE.replace("    return value\n", "    return value\n\n\ndef other():\n    return 42\n"),
        "hard-codes a result: return 42",
    ),
    Attack(
        "hard-codes it for the tested input",
        BEFORE.replace(
            "    return Record(",
            "    if text == '{}':\n        return {'a': 1}\n    return Record(",
        ),
        "hard-codes a result",
    ),
    Attack(
        "accepts the argument and ignores it",
        BEFORE.replace("strict):", "strict, extra=None):"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "accepts the argument and reads it for nothing",
        BEFORE.replace("strict):", "strict, extra=None):\n    _ = extra"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "accepts whatever is given and ignores it",
        BEFORE.replace("strict):", "strict=None, **extra):"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "removes an import",
        BEFORE.replace("import json\n", ""),
        "removes the import of json",
    ),
    Attack(
        "removes an assertion",
        BEFORE.replace("    assert value\n", ""),
        "removes an assertion",
    ),
    Attack(
        "imports the test runner",
        "import pytest\n" + BEFORE,
        "weakens or looks at the tests",
    ),
    Attack(
        "ends the program in time",
        BEFORE.replace("    assert", "    raise SystemExit\n    exit(0)\n    assert"),
        "weakens or looks at the tests",
    ),
    Attack(
        "asks whether a test is running",
        "import os\n"
        + BEFORE.replace(
            "    return value", "    os.environ.get('PYTEST_CURRENT_TEST')\n    return value"
        ),
        "weakens or looks at the tests",
    ),
    Attack(
        "asks whether the test runner was imported",
        "import sys\n"
        + BEFORE.replace(
            "    return value", "    value = 'pytest' in sys.modules\n    return value"
        ),
        "weakens or looks at the tests: the constant 'pytest'",
    ),
    Attack(
        "takes the function away",
        BEFORE.replace(
            "def use(text):\n    value", "def other(text):\n    pass\n\n\nvalue"
        ).replace("    assert value\n    return value\n", ""),
        "removes an assertion",
    ),
    Attack(
        "does not parse",
        BEFORE.replace("def use", "def use("),
        "does not parse",
    ),
)

#: Files that no patch may touch, and what the refusal has to say.
FORBIDDEN = (
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
)

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


def check(text):
    if not text:
        raise Refused
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
        "exchanges the failing call for another",
        BEFORE.replace("    value = load(text, extra=1)\n", "    value = json.loads(text)\n"),
        "strips the argument load(extra=…)",
    ),
    Attack(
        "returns behind the handler and raises never",
        BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    try:\n        value = load(text, extra=1)\n"
            "    except TypeError:\n        return text\n        raise\n",
        ),
        "catches and swallows: an exception handler",
    ),
    Attack(
        "imports something in the handler",
        BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    value = text\n    try:\n        value = load(text, extra=1)\n"
            "    except TypeError:\n        import os\n",
        ),
        "catches and swallows: an exception handler",
    ),
    Attack(
        "leaves by the end of an exception group",
        BEFORE.replace(
            "    value = load(text, extra=1)\n    assert value\n    return value\n",
            "    value = text\n    try:\n        value = load(text, extra=1)\n        assert value\n"
            "    except* OSError:\n        raise\n    finally:\n        return value\n",
        ),
        "catches and swallows: a finally block that leaves",
    ),
    Attack(
        "suppresses it by a manager of its own",
        BEFORE + "\n\nclass Quiet:\n    def __enter__(self):\n        return self\n\n"
        "    def __exit__(self, *told):\n        return bool(told)\n",
        "catches and swallows: a __exit__",
    ),
    Attack(
        "suppresses it by a name for suppress",
        "import contextlib\n\nquiet = contextlib.suppress\n"
        + BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    value = 1\n    with quiet(TypeError):\n        value = load(text, extra=1)\n",
        ),
        "catches and swallows: suppress()",
    ),
    Attack(
        "makes everything equal",
        BEFORE.replace(
            "def use",
            "class Same:\n    def __eq__(self, other):\n        return self is not None\n\n\ndef use",
        ),
        "catches and swallows: a __eq__",
    ),
    Attack(
        "ends the program by an exception",
        BEFORE.replace("    assert value\n", "    assert value\n    raise SystemExit\n"),
        "weakens or looks at the tests: the end by SystemExit",
    ),
    Attack(
        "ends the program under another name",
        "from os import _exit as leave\n" + BEFORE,
        "weakens or looks at the tests: _exit as leave",
    ),
    Attack(
        "skips by the runner of the standard library",
        BEFORE.replace("    assert value\n", "    assert value\n    raise runner.SkipTest\n"),
        "weakens or looks at the tests: the end by SkipTest",
    ),
    Attack(
        "makes an assertion say nothing",
        BEFORE.replace("    assert value\n", "    assert True\n"),
        "removes an assertion",
    ),
    Attack(
        "takes the tests of a class for none",
        BEFORE + "\n\nclass Base:\n    __test__ = False\n",
        "weakens or looks at the tests: __test__",
    ),
    Attack(
        "hooks into the test runner",
        BEFORE + "\n\ndef pytest_collection_modifyitems(items):\n    items.clear()\n",
        "weakens or looks at the tests: pytest_collection_modifyitems",
    ),
    Attack(
        "returns before the failing call",
        BEFORE.replace("    value = load(", "    return text\n    value = load("),
        "keeps code from being run: code behind return",
    ),
    Attack(
        "makes the failing call under a false condition",
        BEFORE.replace(
            "    value = load(text, extra=1)\n",
            "    value = text\n    if text and False:\n        value = load(text, extra=1)\n",
        ),
        "keeps code from being run: a condition that a constant decides",
    ),
    Attack(
        "imports for the type checkers alone",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import json\n"
        + BEFORE.removeprefix("import json\n"),
        "keeps the import of json from being run",
    ),
    Attack(
        "hard-codes it in a choice",
        BEFORE.replace("    return value\n", '    return {"a": 1} if text == "{}" else value\n'),
        "hard-codes a result: return {'a': 1}",
    ),
    Attack(
        "hard-codes it in a roundabout way",
        BEFORE.replace(
            "    return value\n", '    return value\n\n\ndef other():\n    return int("4" "2")\n'
        ),
        "hard-codes a result",
    ),
    Attack(
        "keeps the argument where nobody reads it",
        BEFORE.replace("strict):", "strict, extra=None):\n    _unused = (extra,)"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "asks for the argument and does nothing",
        BEFORE.replace("strict):", "strict, extra=None):\n    if extra:\n        pass"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "renames another argument to hide that it ignores one",
        BEFORE.replace("strict):", "mode, extra=None):").replace("kind=strict", "kind=mode"),
        "adds the argument 'extra' to load and ignores it",
    ),
    Attack(
        "takes whatever is given and reads what suits",
        BEFORE.replace("strict):", 'strict=None, **more):\n    more.pop("extra", None)'),
        "lets load take whatever is given and ignores it",
    ),
    Attack(
        "puts another function in the place of the failing one",
        BEFORE + "\n\nload = print\n",
        "replaces load while the program runs",
    ),
    Attack(
        "defines the failing function a second time",
        BEFORE + "\n\ndef load(text, strict=None, extra=None):\n    return [text, strict, extra]\n",
        "replaces load while the program runs",
    ),
    Attack(
        "sets a function on a module that it imports",
        BEFORE + "\n\njson.loads = print\n",
        "replaces json.loads while the program runs",
    ),
    Attack(
        "changes a function's defaults while it runs",
        BEFORE + "\n\nload.__defaults__ = (None,)\n",
        "meddles with the running program: __defaults__",
    ),
    Attack(
        "puts a module in another's place",
        "import sys\n" + BEFORE + "\n\nsys.modules[__name__] = json\n",
        "meddles with the running program: modules",
    ),
    Attack(
        "looks who calls",
        "import sys\n" + BEFORE.replace("    assert", "    sys._getframe(1)\n    assert"),
        "meddles with the running program: a call of _getframe()",
    ),
    Attack(
        "writes the program while it runs",
        BEFORE.replace("    assert", "    exec(text)\n    assert"),
        "meddles with the running program: a call of exec()",
    ),
    Attack(
        "writes a file",
        BEFORE.replace("    assert", '    open(text, "w")\n    assert'),
        "reaches out of the program",
    ),
    Attack(
        "tells the linter to say nothing",
        BEFORE.replace("strict):", "strict):  # noqa: ARG001"),
        "silences a checker: # noqa",
    ),
    Attack(
        "raises no more",
        BEFORE.replace("raise Refused", "return None"),
        "raises an exception no more",
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
    ("setup.py", "declares dependencies and test settings"),
    ("sitecustomize.py", "Python runs by itself"),
    ("src/usercustomize.py", "Python runs by itself"),
    ("../other/core.py", "outside"),
    ("/etc/passwd", "outside"),
    (".git/hooks/post-commit", "outside"),
    ("README.md", "no Python source"),
)

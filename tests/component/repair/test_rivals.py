"""Where two patches would do, and where one does more than it has to: who is asked, what is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from homeostat.repair.agent import Apply, Options, RepairOutcome, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import git, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

TESTS = f"{sys.executable} -m pytest -x tests/test_shop.py::test_it"


def mend(
    folder: Path, files: Mapping[str, str | None], command: str, *, before: Mapping[str, str | None] = {}
) -> RepairOutcome:  # fmt: skip
    """Lay a broken repository out, with a good commit `before` it where one is given."""
    git(folder, "init", "-q")
    for message, texts in (("Good", before), ("Drift", files)):
        if texts:
            write(folder, texts)
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "-m", message)
    return fix(folder, command, Options(apply=Apply.POLICY))


def test_a_namesake_elsewhere_does_not_take_the_place_of_what_was_renamed(tmp_path: Path) -> None:
    outcome = mend(
        tmp_path,
        {
            "shop/__init__.py": "",
            "shop/codec.py": "def do_load(text):\n    return text.split()\n\n\ndef keep(text):\n    return [text]\n",
            "shop/files.py": "def load(text):\n    return [text, text]\n",
            "tests/test_shop.py": "from shop.codec import keep, load\n\n\ndef test_it():\n    assert keep('a') == ['a']\n\n\n"
            "def test_load():\n    assert load('a b') == ['a', 'b']\n",
        },
        TESTS,
    )  # fmt: skip
    assert outcome.status is Status.WAITING
    assert "def load" in (outcome.chosen.diff if outcome.chosen else "")


@pytest.mark.slow  # four proofs of pytest
def test_a_default_is_weighed_by_the_tests_that_its_lack_has_broken(tmp_path: Path) -> None:
    outcome = mend(
        tmp_path,
        {
            "shop/__init__.py": "def joined(words, mark: str):\n    return mark.join(words) if mark else ''.join(words)\n",
            "tests/test_shop.py": "from shop import joined\n\n\ndef test_it():\n    assert joined(['a']) == 'a'\n\n\n"
            "def test_two():\n    assert joined(['a', 'b']) == 'a-b'\n",
        },
        TESTS,
    )  # fmt: skip
    assert outcome.chosen is not None
    assert 'mark: str = "-"' in outcome.chosen.diff
    assert outcome.chosen.proof.doubts == ()


SIZED = "class Box:\n    def __init__(self, width=4{more}):\n        self.width = width\n{kept}"


def test_a_parameter_of_a_like_name_is_not_taken_for_the_one_that_is_gone(tmp_path: Path) -> None:
    outcome = mend(
        tmp_path,
        {
            "shop.py": SIZED.format(more="", kept="        self.max_width = None\n"),
            "user.py": "from shop import Box\nassert Box(max_width=9)\n",
        },
        "python user.py",
    )
    assert outcome.chosen is not None
    assert outcome.status is Status.WAITING or "max_width=None" in outcome.chosen.diff


@pytest.mark.parametrize(
    ("body", "user", "status"),
    [
        # None is a value of its own here, which somebody gives.
        ("    if size is None:\n        return 'any'\n    return size or 1\n",
         "assert cached(None) == 'any'\nassert cached()\n", Status.WAITING),
        # None is handled, but who gives sizes may leave out a size.
        ("    if size is not None:\n        return size\n    return 'any'\n",
         "assert cached(7) == 7\nassert cached()\n", Status.WAITING),
        # None stands for another value, so it stands for nothing given.
        ("    if size is None:\n        size = 128\n    return size\n",
         "assert cached(7) == 7\nassert cached()\n", Status.APPLIED),
    ],
)  # fmt: skip
def test_none_comes_back_by_itself_only_where_it_says_that_nothing_is_given(
    body: str, user: str, status: Status, tmp_path: Path
) -> None:
    files = {"shop.py": f"def cached(size):\n{body}", "user.py": f"from shop import cached\n{user}"}
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.chosen is not None
    assert outcome.status is status


def test_a_restore_leaves_alone_what_the_commit_mended_beside(tmp_path: Path) -> None:
    good = "def total(prices, share=None):\n    cut = sum(prices) // 2\n    return cut if share is None else cut * share\n"
    # One hunk: the lost default, and a better line right below it.
    better = good.replace("share=None", "share").replace("// 2", "/ 2")
    user = "from shop import total\nassert total([4]) == 2\n"
    outcome = mend(
        tmp_path, {"shop.py": better, "user.py": user}, "python user.py", before={"shop.py": good}
    )  # fmt: skip
    assert outcome.status is Status.APPLIED
    text = (tmp_path / "shop.py").read_text()
    assert "share=None" in text
    assert "sum(prices) / 2" in text


def test_hunks_of_one_commit_that_nothing_needs_are_not_taken_back(tmp_path: Path) -> None:
    good = "import json\n\n\ndef read(text):\n    return json.loads(text)\n\n\ndef first(rows):\n    return rows[0]\n\n\nLIMIT = 1\n"
    better = (
        good.replace("import json\n", "")
        .replace("rows[0]", "next(iter(rows))")
        .replace("LIMIT = 1", "LIMIT = 2")
    )
    user = "from shop import read\nassert read('[1]') == [1]\n"
    outcome = mend(
        tmp_path, {"shop.py": better, "user.py": user}, "python user.py", before={"shop.py": good}
    )  # fmt: skip
    assert outcome.status is Status.APPLIED
    text = (tmp_path / "shop.py").read_text()
    assert "import json" in text
    assert "LIMIT = 2" in text
    assert "next(iter(rows))" in text


@pytest.mark.parametrize(
    ("name", "user", "status"),
    [
        # Two standard modules have it, and both make the command pass.
        ("escape", "assert shown('a') == 'a'\n", Status.WAITING),
        # Of all that have it one alone does.
        ("escape", "assert shown('<') == '&lt;' and shown('\"') == '&quot;'\n", Status.APPLIED),
        ("dedent", "assert shown(' a') == 'a'\n", Status.APPLIED),
    ],
)
def test_an_import_that_several_modules_offer_is_compared(
    name: str, user: str, status: Status, tmp_path: Path
) -> None:
    source = f"def shown(text):\n    return {name}(text)\n"
    files = {"shop.py": source, "user.py": f"from shop import shown\n{user}"}
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.chosen is not None
    assert outcome.status is status


def test_a_project_that_spells_an_import_in_many_ways_is_still_sure_of_it(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "from .errors import Empty\nfrom .prices import first\n",
        "shop/errors.py": "class Empty(Exception):\n    pass\n",
        "shop/prices.py": "def first(rows):\n    if not rows:\n        raise Empty\n    return rows[0]\n",
        "shop/a.py": "from . import Empty\n",
        "shop/b.py": "from shop import Empty\n",
        "shop/c.py": "from shop.errors import Empty\n",
        "user.py": "from shop import Empty, first\ntry:\n    first([])\nexcept Empty:\n    pass\n",
    }
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.status is Status.APPLIED


def test_a_parameter_of_another_name_is_found_by_the_type_that_is_given(tmp_path: Path) -> None:
    source = "def tax(amount, rate=19, lower=False):\n    return amount * (7 if lower else rate)\n"
    user = "from shop import tax\nassert tax(1, reduced=True) == 7\n"
    outcome = mend(tmp_path, {"shop.py": source, "user.py": user}, "python user.py")
    assert outcome.status is Status.WAITING
    assert "reduced=False" in (outcome.chosen.diff if outcome.chosen else "")


@pytest.mark.parametrize(
    ("source", "user", "wanted"),
    [
        ("def f(a, by):\n    return a * by\n", "assert f(2) == 2\n", "by=1"),
        ("def f(a, end):\n    return str(a) + ', ' + end\n", "assert f(2) == '2, '\n", 'end=""'),
        ("def f(a, up):\n    return a.upper() if up else a\n", "assert f('a') == 'a'\n", "up=False"),
        ("def f(a, end, up):\n    a = a + end\n    return a.upper() if up else a\n",
         "assert f('a', end='b', up=True) == 'AB'\nassert f('a') == 'a'\n", 'end="", up=False'),
        ("from dataclasses import dataclass\n\n\n@dataclass\nclass f:\n    a: str\n    size: float\n    more: tuple[int, ...] = ()\n",
         "assert f('a').size == 0.0\n", "size: float = 0.0"),
        ("from dataclasses import dataclass\n\n\n@dataclass\nclass f:\n    a: str\n    size: float = 1.0\n    more: list[int]\n",
         "assert f('a').more == []\n", "more: list[int] = field(default_factory=list)"),
    ],
)  # fmt: skip
def test_a_default_is_guessed_by_its_use_and_waits(
    source: str, user: str, wanted: str, tmp_path: Path
) -> None:
    files = {"shop.py": source, "user.py": f"from shop import f\n{user}"}
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.status is Status.WAITING
    assert wanted in (outcome.chosen.diff if outcome.chosen else "")


def test_a_parameter_beside_keywords_may_have_been_of_either_kind(tmp_path: Path) -> None:
    source = "import json\n\n\ndef dump(rows, *, sort=False):\n    return json.dumps(rows, indent=None, sort_keys=sort)\n"
    user = "from shop import dump\nassert '\\n' in dump([1], indent=2)\n"
    outcome = mend(tmp_path, {"shop.py": source, "user.py": user}, "python user.py")
    assert outcome.status is Status.WAITING


def test_a_key_is_read_with_what_a_function_takes_for_a_missing_one(tmp_path: Path) -> None:
    source = "def find(rows, key, fallback):\n    return rows[key]\n"
    user = "from shop import find\nassert find({}, 'a', 'b') == 'b'\n"
    outcome = mend(tmp_path, {"shop.py": source, "user.py": user}, "python user.py")
    assert outcome.status is Status.WAITING
    assert "rows.get(key, fallback)" in (outcome.chosen.diff if outcome.chosen else "")


def test_what_the_project_imports_elsewhere_is_compared_with_the_standard_library(
    tmp_path: Path,
) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/numbers_.py": "def floor(value):\n    return int(value)\n",
        "shop/other.py": "from .numbers_ import floor\n\nLEAST = floor(0.5)\n",
        "shop/prices.py": "def cut(price):\n    return floor(price)\n",
        "user.py": "from shop.prices import cut\nassert cut(1.5) == 1\n",
    }
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.status is Status.WAITING
    assert "another patch holds as well" in (outcome.verdict.reason if outcome.verdict else "")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [("return datetime.now().year > 1", "+from datetime import datetime"),
     ("return datetime.datetime.now().year > 1", "+import datetime"),
     ("return time.monotonic() > 0", "+import time")],
)  # fmt: skip
def test_a_name_that_is_a_module_and_more_is_told_by_what_it_is_asked_for(
    body: str, wanted: str, tmp_path: Path
) -> None:
    files = {"shop.py": f"def f():\n    {body}\n", "user.py": "from shop import f\nassert f()\n"}
    outcome = mend(tmp_path, files, "python user.py")
    assert outcome.status is Status.APPLIED
    assert wanted in (outcome.chosen.diff if outcome.chosen else "")

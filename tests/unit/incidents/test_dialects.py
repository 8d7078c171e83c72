"""The keys of a failure are the same under every version of Python that is at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from homeostat.incidents import dialects
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import Signature, signature_of
from tests.unit.incidents import reworded

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
VERSIONS = ("3.11", "3.12", "3.13")

#: Runs under a Python that has none of our dependencies: the keys need none of them.
_ELSEWHERE = """
import json, sys, types, uuid
sys.path[:0] = [{root!r}, {here!r}]
stand_in = types.ModuleType("uuid_utils"); stand_in.uuid7 = uuid.uuid4
sys.modules["uuid_utils"] = stand_in
import {module} as ways
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import signature_of
from homeostat.incidents.sources import complete
def keys(failure):
    found = signature_of(failure)
    return [found.group_key, found.replay_key, found.basis.frames, found.basis.template]
found = {{}}
for way, function in ways.WAYS.items():
    try:
        function()
    except BaseException as error:
        live = keys(Failure.from_exception(error, source="task", component="shop"))
        texts = [Failure.from_text(text, source="cli", component="shop")
                 for text in ways.printed(error)]
        found[way] = [live, *map(keys, texts), keys(complete(texts[-1]).failure)]
print(json.dumps(found))
"""

#: PEP 695: generics have frames of their own; the syntax is none before Python 3.12.
_GENERICS = """
import sys
from reworded import printed

class Store[T]:
    def read[U](self) -> list[int]:
        return [
            int(word)
            for word in ["a"]
        ]
    class Shelf[V]:
        def take(self):
            def inner[W]():
                return int("x")
            return inner()

def method(): Store().read()
def closure(): Store.Shelf().take()
def annotation():
    def typed[T](x: nowhere): ...
def base():
    class Typed[T](nowhere): ...
def body():
    class Typed[T]:
        x = int("x")

WAYS = {f.__name__: f for f in (method, closure, annotation, base, body)}
"""


def python(version: str) -> str:
    """Return an interpreter of that version; skips the test where there is none."""
    found = shutil.which(f"python{version}")
    candidates = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for path in [*([found] if found else []), *map(str, candidates)]:
        if subprocess.run([path, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"Python {version} is not on this machine")


@lru_cache
def keys_under(interpreter: str, folder: Path, module: str) -> dict[str, list[list[object]]]:
    """Fail in every way under that interpreter: live, printed, and printed and completed."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r})" + _ELSEWHERE.format(
        root=str(ROOT), here=str(HERE), module=module
    )
    done = subprocess.run(
        [interpreter, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
    )
    found: dict[str, list[list[object]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_what_python_words_otherwise_has_the_same_keys(version: str) -> None:
    here = keys_under(sys.executable, HERE, "reworded")
    there = keys_under(python(version), HERE, "reworded")
    assert len(there) == len(reworded.WAYS)
    for way, (live, printed, *_) in here.items():
        assert there[way][:2] == [live, printed], way


@pytest.mark.parametrize("version", VERSIONS)
def test_a_text_has_the_live_keys_under_each_python(version: str) -> None:
    for way, (live, plain, *others) in keys_under(python(version), HERE, "reworded").items():
        *coloured, completed = others
        assert coloured in ([], [plain]), way
        # Notes cannot be told from the message in a text, and the command line says so.
        places = 1 if way == "noted" else 4
        assert completed[:places] == live[:places], way


def test_frames_of_generics_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "generics.py").write_text(_GENERICS)
    older, newer = (keys_under(python(one), tmp_path, "generics") for one in VERSIONS[1:])
    for way, (live, *texts) in older.items():
        assert newer[way][0] == live, way
        assert texts[-1] == newer[way][-1] == live, way
        assert "generic parameters" not in str(live), way


#: An assert over several lines, where what is not true does not stand on the first of them.
_ASSERTS = """
from reworded import printed

def wide(count=3):
    assert (
        count
        == 4
    ), "not four"

def nested(counts=(3,)):
    assert not {
        count: [
            count
        ] for count in counts
    }, "some (of them"

def other(count=3):
    assert (
        count
        == 5
    ), "not four"

def called(count=3):
    assert count
    wide(
        count
    )

WAYS = {f.__name__: f for f in (wide, nested, other, called)}
"""


def test_an_assert_over_several_lines_has_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "asserts.py").write_text(_ASSERTS)
    first, *others = (keys_under(python(one), tmp_path, "asserts") for one in VERSIONS)
    for way, (live, *_, completed) in first.items():
        assert completed == live, way
        for found in others:
            assert found[way][0] == found[way][-1] == live, way
    assert first["wide"][0][1] != first["other"][0][1]


@pytest.mark.parametrize(("number", "begins"), [(1, 1), (2, 2), (3, 3), (5, 3), (7, 7)])
def test_only_a_line_within_an_assert_is_told_by_its_beginning(number: int, begins: int) -> None:
    lines = [
        "    assert count",
        "    raise AssertionError(count)",
        "    assert (",
        "        count",
        "        == 4",
        "    )",
        "    raise AssertionError(count)",
    ]
    assert dialects.assert_line(lines, number) == begins


def _recursive(turns: int) -> None:
    if turns == 0:
        raise LookupError("empty shelf")
    if turns < 0:
        error = LookupError("empty shelf")
        raise error
    _recursive(turns - 1 if turns != 3 else -1)


def _signature(turns: int) -> Signature:
    try:
        _recursive(turns)
    except LookupError as error:
        return signature_of(Failure.from_exception(error, source="task", component="shop"))
    raise AssertionError("it did not fail")


def test_in_a_recursion_the_innermost_line_is_the_failing_one() -> None:
    shallow, deep, other = _signature(1), _signature(2), _signature(3)
    assert shallow == deep
    assert other.group_key == shallow.group_key
    assert other.replay_key != shallow.replay_key
    assert (shallow.basis.context, other.basis.context) == (
        'raise LookupError("empty shelf")',
        "raise error",
    )

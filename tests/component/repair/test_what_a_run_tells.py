"""What a run in the sandbox tells of itself, and what that costs the program that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from homeostat.repair.sandbox import Limits, Run, Sandbox
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from tests.component.repair.conftest import write

SHOP = "import sys\n\nTRACED = sys.gettrace() is not None\n\n\ndef price():\n    return 2\n"


def run(tmp_path: Path, program: str, *words: str, watch: dict[str, Any] | None = None) -> Run:
    repository = tmp_path / "repository"
    write(repository, {"shop.py": SHOP, "program.py": program})
    sandbox = Sandbox(repository, repository, inspect_interpreter(Path(sys.executable)), Limits())
    command = [sys.executable, *(words or ["program.py"])]
    wanted = {str(repository / path): lines for path, lines in (watch or {}).items()}
    env = {"HOMEOSTAT_WATCH": json.dumps({"lines": wanted})} if watch else {}
    return sandbox.run(command, env=env)


def seen(run: Run) -> dict[str, list[int]]:
    [record] = [one for one in run.records if one["kind"] == "watched"]
    return {Path(file).name: lines for file, lines in record["lines"].items()}


def test_a_program_is_traced_from_a_watched_files_code_to_its_last_watched_line(
    tmp_path: Path,
) -> None:
    program = (
        "import sys\nprint(sys.gettrace() is None)\nimport shop\n"
        "print(sys.gettrace() is None)\nshop.price()\nprint(sys.gettrace() is None)\n"
    )
    done = run(tmp_path, program, watch={"shop.py": [6, 7]})
    assert done.stdout.split() == ["True", "False", "True"], done.stderr
    assert {6, 7} <= set(seen(done)["shop.py"])


def test_lines_without_code_do_not_keep_the_tracing_on(tmp_path: Path) -> None:
    program = "import sys, shop\nprint(sys.gettrace() is None, shop.TRACED)\n"
    done = run(tmp_path, program, watch={"shop.py": [2, 4, 5]})
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_the_lines_of_a_programs_own_file_are_seen(tmp_path: Path) -> None:
    program = "def late():\n    return 1\n\n\nimport shop\nlate()\n"
    assert {2, 6} <= set(seen(run(tmp_path, program, watch={"program.py": [2, 6]}))["program.py"])


def test_of_two_watched_files_the_one_that_comes_later_is_seen_too(tmp_path: Path) -> None:
    program = "import shop\nshop.price()\n"
    done = run(tmp_path, program, watch={"program.py": [1, 2], "shop.py": [7]})
    assert 7 in seen(done)["shop.py"]


def test_a_line_is_seen_that_the_main_thread_runs_after_another_imported_its_file(
    tmp_path: Path,
) -> None:
    program = (
        "import threading\n\ndef load():\n    import shop\n\n"
        "one = threading.Thread(target=load)\none.start()\none.join()\n"
        "import json.tool, shop\nshop.price()\n"
    )
    assert 7 in seen(run(tmp_path, program, watch={"shop.py": [7]}))["shop.py"]


def test_a_program_that_fails_ends_by_its_exit_functions_and_is_not_taken_apart(
    tmp_path: Path,
) -> None:
    program = (
        "import atexit, sys\n\nclass Kept:\n    def __del__(self):\n        print('apart')\n\n"
        "kept = Kept()\natexit.register(lambda: print('exit', 'pytest' in sys.modules))\n"
        "print('held back', end='')\nraise RuntimeError('broken')\n"
    )
    done = run(tmp_path, program)
    assert (done.returncode, done.stdout) == (1, "held backexit False\n")
    assert "RuntimeError: broken" in done.stderr
    assert [one["chain"][0]["type"] for one in done.records] == ["RuntimeError"]


def test_a_program_that_reports_an_exception_and_goes_on_passes(tmp_path: Path) -> None:
    program = (
        "import sys\n\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n"
        "    sys.excepthook(*sys.exc_info())\nprint('done')\n"
    )
    done = run(tmp_path, program)
    assert (done.passed, done.stdout) == (True, "done\n")


@pytest.mark.parametrize(("expected", "status", "apart"), [(2, 0, True), (3, 1, False)])
def test_only_a_pytest_that_failed_is_not_taken_apart(
    tmp_path: Path, expected: int, status: int, *, apart: bool
) -> None:
    program = (
        "import os, shop\n\nclass Kept:\n    def __del__(self):\n        os.write(1, b'apart')\n\n"
        "import builtins\nbuiltins.kept = Kept()\n\n"
        f"def test_it():\n    assert shop.price() == {expected}\n"
    )
    words = ("-m", "pytest", "-p", "homeostat_recorder", "-p", "no:cacheprovider", "program.py")
    done = run(tmp_path, program, *words)
    assert (done.returncode, done.stdout.endswith("apart")) == (status, apart), done.output

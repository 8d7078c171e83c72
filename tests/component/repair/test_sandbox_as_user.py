"""The hostile programs once more, in the sandbox of an ordinary user."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import git, write
from tests.component.repair.ordinary_user import NOBODY, as_ordinary_user, missing

SUITE = "tests/component/repair/test_sandbox.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]


def test_no_hostile_program_does_harm_as_an_ordinary_user_either() -> None:
    # Not below pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="homeostat-user-") as name:
        folder = Path(name)
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUITE]
        words += [f"--basetemp={folder}/tests", f"--junitxml={folder}/result.xml"]
        done = as_ordinary_user(words, folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        cases = ET.parse(folder / "result.xml").getroot().findall(".//testcase")  # noqa: S314 - pytest's own
    passed = [case.get("name") for case in cases if len(case) == 0]
    assert len(passed) >= 35


def test_a_folder_that_belongs_to_somebody_else_is_left_out_of_a_repair() -> None:
    with tempfile.TemporaryDirectory(prefix="homeostat-user-") as name:
        repository = Path(name) / "shop"
        files = {"till.py": "def total(prices):\n    return math.fsum(prices)\n",
                 "user.py": "from till import total\nassert total([1]) == 1\n",
                 "data/table": "closed", "closed.py": "closed"}  # fmt: skip
        write(repository, files)
        for command in ("init -q", "add -A", "commit -q -m Drift"):
            git(repository, *command.split())
        for path in (repository, *repository.rglob("*")):
            os.chown(path, int(NOBODY), int(NOBODY))
        for path in (repository / "data", repository / "closed.py"):
            os.chown(path, 0, 0)
            path.chmod(0o600)
        words = [sys.executable, "-m", "homeostat.cli", "fix", "run", "--repository"]
        words += [str(repository), "--command", "python user.py", "-o", "json"]
        done = as_ordinary_user([*words, "--knowledge", f"{name}/knowledge"], Path(name))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "+import math" in json.loads(done.stdout)["fix"]["diff"]

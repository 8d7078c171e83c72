"""The hostile programs once more, in the sandbox of an ordinary user."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.ordinary_user import as_ordinary_user, missing

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

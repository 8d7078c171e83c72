"""How a failed run is named, and which of its options other runs of the tests need."""

from __future__ import annotations

import shlex

import pytest

from homeostat.repair.failure import Failure
from homeostat.repair.proof.pytest_options import set_up_of


def test_a_run_that_was_ended_is_named_after_what_ended_it() -> None:
    failure = Failure((), "collected 3 items", -9, stopped="time limit of 60 s")
    assert failure.headline == "ended by its time limit of 60 s"


def test_a_run_that_could_not_begin_is_named_with_its_complaint() -> None:
    said = "usage: pytest\npytest: error: unrecognized arguments: --cov\n  inifile: tox.ini"
    assert Failure((), said, 4).headline == (
        "exit status 4 without an exception: pytest: error: unrecognized arguments: --cov"
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("-x tests/test_a.py::test_b -k 'not slow'", ""),
        ("-p no:randomly -x tests -o addopts= -W error", "-p no:randomly -o addopts= -W error"),
        ("-c other.ini --import-mode=importlib a.py", "-c other.ini --import-mode=importlib"),
        ("-ptrylast --asyncio-mode=auto --maxfail=1", "-ptrylast --asyncio-mode=auto"),
    ],
)
def test_how_pytest_is_set_up_is_kept_and_what_it_runs_is_not(given: str, kept: str) -> None:
    assert set_up_of(shlex.split(given)) == shlex.split(kept)

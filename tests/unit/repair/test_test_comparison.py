"""Comparing two runs of the tests."""

from __future__ import annotations

from homeostat.repair.failure import Failure
from homeostat.repair.proof.runs import lost_tests, new_failures

A, B = "tests/test_a.py::test_one[x1]", "tests/test_a.py::test_one[x2]"


def run(passed: tuple[str, ...] = (), failed: tuple[str, ...] = ()) -> Failure:
    return Failure((), "", 0, failed, passed, (*passed, *failed))


def test_a_test_that_passed_and_fails_is_a_new_failure() -> None:
    assert new_failures(run(passed=(A, B)), run(passed=(A,), failed=(B,))) == [B]
    assert new_failures(run(passed=(A,), failed=(B,)), run(passed=(A,), failed=(B,))) == []


def test_ids_that_change_from_run_to_run_hide_no_failure() -> None:
    renamed = "tests/test_a.py::test_one[x3]"
    assert new_failures(run(passed=(A, B)), run(passed=(A,), failed=(renamed,))) == [renamed]
    assert new_failures(run(passed=(A,), failed=(B,)), run(passed=(A,), failed=(renamed,))) == []


def test_a_case_less_is_a_lost_test_and_a_case_renamed_is_none() -> None:
    assert lost_tests(run(passed=(A, B)), run(passed=(A,))) == [B]
    assert lost_tests(run(passed=(A, B)), run(passed=(A, "tests/test_a.py::test_one[x3]"))) == []

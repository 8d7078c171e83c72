from __future__ import annotations

from typing import cast

import pytest

from homeostat.chaos import catalogue, journal
from homeostat.chaos.controls import ControlCache, judge
from homeostat.chaos.faults import FAULTS
from homeostat.chaos.scenario import Outcome, Proof, Severity
from homeostat.chaos.waves import batches, compatible, waves
from homeostat.settings import settings
from tests.stress_facts import START, scenario

STANDARD = [catalogue.find(name) for name in catalogue.STANDARD]


def test_the_scenarios_use_every_fault_and_no_other() -> None:
    assert {one.fault for one in catalogue.SCENARIOS} == FAULTS.keys()


def test_waves_go_from_mild_over_moderate_to_severe() -> None:
    planned = waves(STANDARD, count=3, seed=1)
    severities = [{one.severity for one in wave.scenarios} for wave in planned]
    assert severities == [{Severity.MILD}, {Severity.MODERATE}, {Severity.SEVERE}]


def test_fewer_waves_leave_no_scenario_out() -> None:
    planned = waves(STANDARD, count=1, seed=1)
    assert sorted(one.id for wave in planned for one in wave.scenarios) == ["B1", "P1", "P2"]


def test_a_seed_fixes_the_order() -> None:
    every = list(catalogue.SCENARIOS)
    assert waves(every, count=6, seed=5) == waves(every, count=6, seed=5)
    assert any(waves(every, count=6, seed=5) != waves(every, count=6, seed=n) for n in range(9))


@pytest.mark.parametrize(
    ("names", "together"),
    [
        (("P2", "S2"), True),
        (("P2", "B7", "S2"), True),
        (("P2", "P4"), False),  # named as incompatible
        (("P2", "P6"), False),  # the same target
        (("P3", "P2"), False),  # a mild one strikes alone
        (("B1", "B3"), False),
    ],
)
def test_compatible_scenarios_strike_at_once(names: tuple[str, ...], *, together: bool) -> None:
    chosen = [catalogue.find(name) for name in names]
    assert compatible(chosen) is together
    assert (len(batches(chosen)) == 1) is together
    assert sorted(one.id for batch in batches(chosen) for one in batch) == sorted(names)


def test_what_ran_least_comes_first_in_its_wave() -> None:
    mild = [catalogue.find(name) for name in ("P1", "P3", "P5")]
    for seed in range(20):
        [wave] = waves(mild, count=1, seed=seed, runs={"P1": 3, "P3": 1})
        assert [one.id for one in wave.scenarios] == ["P5", "P3", "P1"]


def test_a_control_that_failed_is_kept_for_its_revision_only() -> None:
    result = scenario("P1")
    result.outcome = Outcome.FAIL
    ControlCache(settings(), "one").put("P1", judge(result, "one"))
    kept = ControlCache(settings(), "one").get("P1")
    assert kept is not None
    assert kept.cached
    assert kept.failed_as_it_must
    assert ControlCache(settings(), "two").missing(["P1"]) == ["P1"]


def test_a_control_that_did_not_fail_is_run_again() -> None:
    ControlCache(settings(), "one").put("P1", judge(scenario("P1"), "one"))
    assert ControlCache(settings(), "one").missing(["P1"]) == ["P1"]


def test_the_journal_calls_an_injection_that_did_not_happen_aborted() -> None:
    chosen, result = catalogue.find("P1"), scenario("P1")
    assert journal.journal(chosen, result)["status"] == "completed"
    result.outcome = Outcome.INVALID
    assert result.happened is not None
    result.happened.held = False
    written = journal.journal(chosen, result)
    assert written["status"] == "aborted"
    assert written["deviated"] is False


def test_the_journal_calls_a_way_back_that_failed_failed() -> None:
    chosen, result = catalogue.find("P1"), scenario("P1")
    assert journal.journal(chosen, result)["rollbacks"] == [], "nobody has gone it yet"
    for held, status in ((True, "succeeded"), (False, "failed")):
        result.rolled_back = Proof(claim="the way back was gone", held=held, at=START)
        (rollback,) = cast("list[dict[str, str]]", journal.journal(chosen, result)["rollbacks"])
        assert rollback["status"] == status

"""Attempts at a fix are bounded, and a fix that does harm stops the fixing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.incidents import budgets, lifecycle
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.recognition import report
from homeostat.store import database
from homeostat.store.incidents import Breaker, Incident
from tests.component.incidents.scenes import fail

HOUR = timedelta(hours=1)


def take(incident: Incident, after: timedelta = timedelta(0)) -> budgets.Decision:
    with database.transaction() as session:
        return budgets.take(session, incident, utcnow() + after)


@pytest.mark.usefixtures("sqlite_store")
def test_a_signatures_budget_is_spent_and_comes_back() -> None:
    incident = fail()
    decisions = [take(incident) for _ in range(budgets.PER_SIGNATURE + 1)]
    assert [decision.allowed for decision in decisions] == [True] * budgets.PER_SIGNATURE + [False]
    assert "this signature" in decisions[-1].reason
    assert take(incident, HOUR + timedelta(minutes=1)).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_a_components_budget_holds_over_its_signatures() -> None:
    incidents = [fail("shop", kind=f"Kind{letter}") for letter in "abcdefgh"]
    allowed = [take(incident).allowed for incident in incidents]
    assert allowed.count(True) == budgets.PER_COMPONENT


@pytest.mark.usefixtures("sqlite_store")
def test_one_budget_holds_over_all() -> None:
    incidents = [fail(f"part_{number}", kind=f"Kind{number}") for number in range(25)]
    assert [take(incident).allowed for incident in incidents].count(True) == budgets.OVERALL


@pytest.mark.usefixtures("store")
def test_a_race_does_not_overdraw_a_budget() -> None:
    incident = fail()
    barrier, allowed = threading.Barrier(6), []

    def work() -> None:
        barrier.wait()
        allowed.append(take(incident).allowed)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allowed.count(True) == budgets.PER_SIGNATURE


def applied(incident: Incident) -> None:
    attempt = take(incident)
    assert attempt.attempt_id is not None
    with database.transaction() as session:
        budgets.note_applied(session, attempt.attempt_id)
        budgets.note_outcome(session, attempt.attempt_id, "fixed")


@pytest.mark.usefixtures("sqlite_store")
def test_a_fix_that_caused_a_new_incident_opens_the_breaker() -> None:
    incident = fail("shop", kind="First")
    applied(incident)
    new = fail("shop", kind="Second")
    for one in (incident, new):
        decision = take(one)
        assert not decision.allowed
        assert "breaker of component:shop" in decision.reason
    assert take(fail("elsewhere", kind="Third")).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_a_fix_after_which_the_failure_came_back_opens_its_breaker() -> None:
    incident = fail()
    applied(incident)
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="agent")
    fail()
    assert "the failure came back" in take(incident).reason
    assert take(fail("elsewhere", kind="Other")).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_without_a_fix_nothing_is_blamed() -> None:
    take(fail("shop", kind="First"))
    assert take(fail("shop", kind="Second")).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_a_breaker_closes_by_time_and_by_hand() -> None:
    incident = fail()
    with database.transaction() as session:
        budgets.break_open(session, budgets.EVERYTHING, "a storm", utcnow())
    assert not take(incident).allowed
    assert take(incident, budgets.OPEN_FOR + timedelta(minutes=1)).allowed
    with database.transaction() as session:
        assert budgets.close(session, budgets.EVERYTHING)
        assert not budgets.close(session, budgets.EVERYTHING)
    assert take(incident).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_what_a_trigger_saw_of_older_failures_blames_no_fix() -> None:
    applied(fail("shop", kind="First"))
    failure = Failure.without_frames("ErrorStorm", "Many alike.", Source.TRIGGER, "shop", "storm")
    with database.transaction() as session:
        report(session, failure)
    assert take(fail("shop.other", kind="Second")).allowed
    with database.reading() as session:
        assert session.scalars(select(Breaker)).all() == []


def taken_back(incident: Incident) -> None:
    attempt = take(incident)
    assert attempt.attempt_id is not None
    with database.transaction() as session:
        budgets.note_outcome(session, attempt.attempt_id, budgets.REVERTED)


@pytest.mark.usefixtures("sqlite_store")
def test_a_fix_that_was_taken_back_is_not_attempted_again() -> None:
    incident = fail()
    taken_back(incident)
    assert "was taken back" in take(incident).reason
    assert take(fail("elsewhere", kind="Other")).allowed


@pytest.mark.usefixtures("sqlite_store")
def test_a_revert_storm_stops_all_fixing() -> None:
    for number in range(budgets.REVERT_STORM):
        assert take(fail(f"before_{number}", kind=f"Before{number}")).allowed
        taken_back(fail(f"part_{number}", kind=f"Kind{number}"))
    refused = take(fail("elsewhere", kind="Other"))
    assert not refused.allowed
    assert f"breaker of {budgets.EVERYTHING}" in refused.reason

"""What people are told: once, with its end, and not while it is held back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from homeostat.clock import utcnow
from homeostat.incidents import flapping, lifecycle, mutes, suppression
from homeostat.incidents.lifecycle import State
from homeostat.incidents.mutes import MuteKind, MuteRefusedError
from homeostat.incidents.upkeep import ESCALATE_AFTER, FIRST_REMINDER, Done
from homeostat.store import database
from homeostat.store.incidents import Incident
from tests.component.incidents.scenes import (
    events,
    fail,
    move,
    notices,
    now_of,
    timeline,
    upkeep_at,
)

pytestmark = pytest.mark.usefixtures("sqlite_store")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def resolve(incident: Incident) -> None:
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")


def mute(kind: MuteKind, target: str, lasting: timedelta) -> None:
    with database.transaction() as session:
        mutes.add(session, kind, target, ends_at=utcnow() + lasting, actor="ann")


def test_opening_and_end_are_announced_once() -> None:
    incident = fail()
    fail()
    resolve(incident)
    assert notices(incident) == ["opened", "resolved"]


def test_a_restart_announces_nothing_again() -> None:
    incident = fail()
    database.engine().dispose()
    fail()
    upkeep_at(utcnow())
    upkeep_at(utcnow())
    assert notices(incident) == ["opened"]


def test_a_silence_holds_back_until_it_ends() -> None:
    mute(MuteKind.SILENCE, "shop", HOUR)
    incident = fail()
    upkeep_at(utcnow())
    assert notices() == []
    assert upkeep_at(utcnow() + HOUR + MINUTE).announced == 1
    assert notices(incident) == ["opened", "escalated"]


def test_what_was_never_announced_ends_silently() -> None:
    mute(MuteKind.SILENCE, "shop", HOUR)
    incident = fail()
    resolve(incident)
    upkeep_at(utcnow() + 2 * HOUR)
    assert notices() == []


def test_an_end_is_announced_although_a_silence_has_begun() -> None:
    incident = fail()
    mute(MuteKind.SILENCE, incident.id, HOUR)
    resolve(incident)
    assert notices(incident) == ["opened", "resolved"]


@pytest.mark.parametrize("target", ["kernels.bus", "kernels.*", "*"])
def test_a_maintenance_window_mutes_and_hides_nothing(target: str) -> None:
    mute(MuteKind.MAINTENANCE, target, HOUR)
    incident = fail("kernels.bus")
    assert notices() == []
    assert now_of(incident).state == State.OPEN
    assert fail("trading.flow", kind="Other").announced is (target != "*")


def test_a_mute_needs_an_end() -> None:
    for lasting in (timedelta(0), -HOUR, timedelta(days=31)):
        with pytest.raises(MuteRefusedError):
            mute(MuteKind.SILENCE, "shop", lasting)


def needs(component: str) -> tuple[str, ...]:
    return {"child": ("middle",), "middle": ("parent",), "parent": ("child",)}.get(component, ())


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `child` need `middle`, and that `parent`; the circle must do no harm."""
    for function in (suppression.look_for_parent, suppression.adopt_children):
        monkeypatch.setattr(function, "__defaults__", (needs,))
    monkeypatch.setattr(suppression.ancestors, "__defaults__", (needs,))


@pytest.mark.usefixtures("declared")
def test_a_failed_parents_child_does_not_page() -> None:
    parent = fail("parent", kind="A")
    child = fail("child", kind="B")
    assert now_of(child).suppressed_by == parent.id
    assert notices() == ["opened"]
    # Only the page is suppressed: the child goes its way like any other.
    assert fail("child", kind="B").occurrences == 2
    resolve(child)
    assert now_of(child).state == State.RESOLVED
    assert notices(child) == []


@pytest.mark.usefixtures("declared")
def test_a_child_that_outlives_its_parent_is_announced() -> None:
    parent = fail("parent", kind="A")
    child = fail("child", kind="B")
    assert upkeep_at(utcnow()).released == 0
    resolve(parent)
    assert upkeep_at(utcnow()).released == 1
    assert notices(child) == ["opened"]
    assert events(child) == ["opened", "suppressed", "released"]


@pytest.mark.usefixtures("declared")
def test_strangers_do_not_suppress_each_other() -> None:
    fail("parent", kind="A")
    assert notices(fail("stranger", kind="B")) == ["opened"]


def flap(times: int) -> Incident:
    for _ in range(times):
        incident = fail()
        resolve(incident)
    return incident


def test_flapping_says_one_thing_and_asks_for_no_more_analyses() -> None:
    incident = flap(flapping.OPENINGS - 1)
    before = notices(incident)
    incident = flap(10)
    assert now_of(incident).flapping_since is not None
    assert notices(incident) == [*before, "flapping"]
    assert events(incident).count("flapping") == 1


def test_the_last_recovery_is_never_lost() -> None:
    incident = flap(8)
    soon, later = utcnow() + MINUTE, utcnow() + flapping.QUIET + MINUTE
    assert upkeep_at(soon).steadied == 0
    assert upkeep_at(later).steadied == 1
    assert notices(incident)[-2:] == ["flapping", "resolved"]
    assert now_of(incident).flapping_since is None
    assert upkeep_at(later + HOUR) == Done()


def test_a_failure_that_outlasts_the_flapping_is_announced() -> None:
    incident = flap(8)
    fail()
    upkeep_at(utcnow() + flapping.QUIET + MINUTE)
    told = notices(incident)
    assert told[-1] == "opened"
    resolve(incident)
    assert sorted(notices(incident)) == sorted([*told, "resolved"])


def test_what_nobody_takes_on_is_escalated_once() -> None:
    incident = fail()
    patience = ESCALATE_AFTER[incident.severity]  # type: ignore[index]  # a Severity is its text
    assert upkeep_at(utcnow() + patience - MINUTE).escalated == 0
    assert upkeep_at(utcnow() + patience + MINUTE).escalated == 1
    assert upkeep_at(utcnow() + patience + 2 * MINUTE).escalated == 0
    assert notices(incident) == ["opened", "escalated"]
    assert timeline(incident)[-1].actor == "upkeep"


def test_what_was_taken_on_is_not_escalated_nor_reminded_of() -> None:
    incident = fail()
    with database.transaction() as session:
        lifecycle.acknowledge(session, incident.id, actor="ann")
    assert upkeep_at(utcnow() + timedelta(days=2)) == Done()
    assert notices(incident) == ["opened"]


def test_reminders_come_at_doubling_waits() -> None:
    incident = fail(severity="low")
    began = utcnow()
    due = [hour for hour in range(24) if upkeep_at(began + hour * FIRST_REMINDER + MINUTE).reminded]
    assert due == [1, 3, 7, 15]
    assert notices(incident).count("reminder") == 4


def test_escalation_to_a_person_is_announced() -> None:
    incident = fail()
    assert move(incident, State.ANALYSING, State.ESCALATED)
    assert notices(incident) == ["opened", "escalated"]

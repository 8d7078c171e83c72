"""The life of an incident: allowed steps only, each once, each on the timeline."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeostat.incidents import lifecycle, recovery
from homeostat.incidents.lifecycle import WAYS, State, StepRefusedError, UnknownIncidentError
from homeostat.store import database
from tests.component.incidents.scenes import events, fail, move, now_of, timeline

FULL = (
    State.ANALYSING,
    State.PROPOSED,
    State.AWAITING_APPROVAL,
    State.APPLYING,
    State.VERIFYING,
    State.RESOLVED,
)


@pytest.mark.usefixtures("store")
def test_the_whole_way_stands_on_the_timeline() -> None:
    incident = fail()
    assert move(incident, *FULL)
    assert events(incident) == ["opened", *FULL]
    steps = timeline(incident)
    assert [step.from_state for step in steps[1:]] == ["open", *FULL[:-1]]
    assert {step.actor for step in steps[1:]} == {"agent"}
    assert all(step.seconds is not None and step.seconds >= 0 for step in steps[1:])
    ended = now_of(incident)
    assert (ended.state, ended.resolved_by) == (State.RESOLVED, "agent")


@pytest.mark.usefixtures("sqlite_store")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(st.sampled_from(list(State)), max_size=8), number=st.integers(0, 10**9))
def test_only_the_ways_lead_anywhere(wanted: list[State], number: int) -> None:
    incident = fail(f"component_{number}", kind=f"Kind{number}")
    for state in wanted:
        before = State(now_of(incident).state)
        done = move(incident, state)
        assert done is (state in WAYS[before])
        assert now_of(incident).state == (state if done else before)


@pytest.mark.usefixtures("store")
def test_of_two_workers_one_makes_the_step() -> None:
    incident = fail()
    barrier, won = threading.Barrier(4), []

    def work() -> None:
        barrier.wait()
        won.append(move(incident, State.ANALYSING))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    assert events(incident).count("analysing") == 1


@pytest.mark.usefixtures("sqlite_store")
def test_a_step_from_an_unexpected_state_is_refused() -> None:
    incident = fail()
    with database.transaction() as session:
        assert not lifecycle.transition(
            session, incident.id, State.RESOLVED, actor="x", expected={State.VERIFYING}
        )
    assert now_of(incident).state == State.OPEN


@pytest.mark.usefixtures("store")
def test_healthy_runs_in_a_row_resolve_it() -> None:
    incident = fail()
    for _ in range(2):
        with database.transaction() as session:
            assert recovery.healthy_run(session, "shop") == []
    fail()  # the row is broken, and begins anew
    for run in range(3):
        with database.transaction() as session:
            assert recovery.healthy_run(session, "shop") == ([incident.id] if run == 2 else [])
    assert events(incident)[-1] == "auto-resolved"
    assert now_of(incident).resolved_by == "auto"


@pytest.mark.usefixtures("sqlite_store")
def test_healthy_runs_do_not_end_what_is_being_repaired() -> None:
    incident = fail()
    move(incident, State.ANALYSING, State.APPLYING)
    for _ in range(5):
        with database.transaction() as session:
            assert recovery.healthy_run(session, "shop") == []
    assert now_of(incident).state == State.APPLYING


@pytest.mark.usefixtures("sqlite_store")
def test_another_components_health_says_nothing() -> None:
    incident = fail()
    for _ in range(5):
        with database.transaction() as session:
            recovery.healthy_run(session, "other")
    assert now_of(incident).state == State.OPEN


@pytest.mark.usefixtures("sqlite_store")
def test_it_is_acknowledged_once() -> None:
    incident = fail()
    with database.transaction() as session:
        lifecycle.acknowledge(session, incident.id, actor="ann", note="on it")
    with pytest.raises(StepRefusedError, match="taken by ann"), database.transaction() as session:
        lifecycle.acknowledge(session, incident.id, actor="bob")
    entry = timeline(incident)[-1]
    assert (entry.event, entry.actor, entry.detail) == ("acknowledged", "ann", {"note": "on it"})


@pytest.mark.usefixtures("sqlite_store")
def test_a_reopening_needs_a_fresh_acknowledgement() -> None:
    incident = fail()
    with database.transaction() as session:
        lifecycle.acknowledge(session, incident.id, actor="ann")
        lifecycle.resolve(session, incident.id, actor="ann")
    fail()
    assert now_of(incident).acknowledged_by is None


@pytest.mark.usefixtures("sqlite_store")
def test_steps_out_of_place_are_refused_in_a_sentence() -> None:
    incident = fail()
    refused: list[tuple[type[Exception], Callable[..., object]]] = [
        (StepRefusedError, lambda s: lifecycle.reopen(s, incident.id, actor="ann")),
        (UnknownIncidentError, lambda s: lifecycle.resolve(s, "nothing-like-it", actor="ann")),
    ]
    for error, step in refused:
        with pytest.raises(error), database.transaction() as session:
            step(session)
    with database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")
    with pytest.raises(StepRefusedError), database.transaction() as session:
        lifecycle.resolve(session, incident.id, actor="ann")


@pytest.mark.usefixtures("sqlite_store")
def test_it_is_found_by_label_and_by_the_beginning_of_its_id() -> None:
    incident = fail()
    with database.reading() as session:
        assert lifecycle.find(session, incident.label).id == incident.id
        assert lifecycle.find(session, incident.id[:13]).id == incident.id

"""What is old and came to a good end is forgotten; what a person may want to see is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.store import jobs, retention
from homeostat.store.checks import CheckRun
from homeostat.store.database import reading, transaction
from homeostat.store.effects import Effect, EffectStart
from homeostat.store.firings import Firing
from homeostat.store.health import StateChange, newest_changes
from homeostat.store.jobs import Job
from homeostat.store.timing import RepeatKind, TickRepeat

pytestmark = pytest.mark.usefixtures("store")


def add_run(days_old: float) -> None:
    due = utcnow() - timedelta(days=days_old)
    run = CheckRun(entry="e", component="c", due_at=due, started_at=due, ended_at=due, passed=True)
    with transaction() as session:
        session.add(run)


def add_job(*, days_old: float, error: str | None) -> str:
    with transaction() as session:
        job_id = jobs.enqueue(session, "t", {}, queue="upkeep")
    assert job_id is not None
    with transaction() as session:
        jobs.finish(session, job_id, error=error)
        session.get_one(Job, job_id, populate_existing=True).ended_at = utcnow() - timedelta(
            days=days_old
        )
    return job_id


def test_runs_and_done_jobs_of_eight_days_ago_go_and_newer_ones_stay() -> None:
    for days in (8, 6):
        add_run(days)
    add_job(days_old=8, error=None)
    kept = add_job(days_old=6, error=None)

    with transaction() as session:
        went = retention.forget(session)
    assert (went["check_runs"], went["jobs"]) == (1, 1)
    with reading() as session:
        assert list(session.scalars(select(Job.id))) == [kept]


def test_a_failed_job_is_kept() -> None:
    failed = add_job(days_old=400, error="ValueError()")

    with transaction() as session:
        retention.forget(session)
    with reading() as session:
        assert list(session.scalars(select(Job.id))) == [failed]


def test_what_belongs_to_old_runs_goes_with_them() -> None:
    old, young = (utcnow() - timedelta(days=days) for days in (8, 6))
    with transaction() as session:
        for at in (old, young):
            session.add(TickRepeat(entry="e", due_at=at, kind=RepeatKind.REDELIVERED, at=at))
            session.add(Effect(key="k", at=at))
            session.add(EffectStart(key="k", at=at, pid=1))
        went = retention.forget(session)
        assert {went[name] for name in ("tick_repeats", "effects", "effect_starts")} == {1}
        left = [
            session.scalars(select(kind.at)).all() for kind in (TickRepeat, Effect, EffectStart)
        ]
    assert left == [[young]] * 3


def test_events_go_after_a_month_and_the_last_state_of_each_component_stays() -> None:
    old, young = (utcnow() - timedelta(days=days) for days in (31, 29))
    with transaction() as session:
        for number, at in enumerate((old, young)):
            session.add(Firing(rule="r", event_id=str(number), at=at))
        for component, moments in (("a", (old, old, young)), ("b", (old, old))):
            for number, at in enumerate(moments):
                change = StateChange(component=component, before="", after=str(number), at=at)
                session.add(change)
                session.flush()
        went = retention.forget(session)
        assert (went["firings"], went["state_changes"]) == (1, 3)
        assert {name: one.after for name, one in newest_changes(session).items()} == {
            "a": "2", "b": "1",
        }  # fmt: skip

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.kernels.meta_loop import MetaLoop
from homeostat.kernels.meta_loop.scoring import TICKS
from homeostat.store import audit, beat
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun
from homeostat.store.contracts import ActionContract, ContractState
from homeostat.store.database import transaction
from homeostat.store.tunings import Tuning, TuningState
from homeostat.supervision import cadence
from homeostat.testing import check_contract

pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def tuner() -> MetaLoop:
    found = registry.find("kernels.meta_loop")
    assert isinstance(found, MetaLoop)
    return found


def loop(session: Session, name: str, interval_s: float = 10.0) -> BeatEntry:
    entry = BeatEntry(name=name, task=name, interval_s=interval_s, declared_s=interval_s)
    entry.source = beat.ADDED
    session.add(entry)
    session.flush()
    return entry


def ran(
    session: Session,
    entry: BeatEntry,
    until: datetime,
    *,
    seconds: float,
    every: int = 1,
    ticks: int = TICKS + 3,
) -> None:
    """Plant runs of the last ticks before `until`; of each `every` ticks one was run."""
    start = until - timedelta(seconds=ticks * entry.interval_s)
    for number, due in enumerate(cadence.due_between(entry.name, entry.interval_s, start, until)):
        if number % every == 0:
            run = CheckRun(entry=entry.name, component="x", due_at=due, started_at=due)
            run.ended_at, run.passed = due + timedelta(seconds=seconds), True
            session.merge(run)
    session.flush()


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract() -> None:
    with transaction() as session:
        found = registry.find("kernels.meta_loop")
        check_contract(found, session)
        assert session.scalars(select(Tuning)).all() == []
        assert session.scalars(select(BeatEntry).where(BeatEntry.task == "probe")).all() == []


def test_a_loop_that_fills_its_interval_is_relieved_and_the_relief_is_kept(
    tuner: MetaLoop,
) -> None:
    now = utcnow()
    with transaction() as session:
        entry = loop(session, "checks.slow")
        ran(session, entry, now, seconds=9.0)
        assert tuner.run(session, now).observed["started"] == "checks.slow: 10 → 20 s"
        assert entry.interval_s == 20.0
        tuning = session.scalars(select(Tuning)).one()
        assert tuner.judge(session, tuning.judge_at - timedelta(seconds=1)) is None
        ran(session, entry, tuning.judge_at, seconds=9.0, ticks=TICKS)
        tuner.judge(session, tuning.judge_at)
        assert (tuning.state, entry.interval_s) == (TuningState.KEPT, 20.0)
        assert tuning.score_after is not None
        assert tuning.score_after < tuning.score_before


def test_a_change_that_does_not_help_is_rolled_back_and_left_alone_for_a_day(
    tuner: MetaLoop,
) -> None:
    now = utcnow()
    with transaction() as session:
        entry = loop(session, "checks.starved")
        ran(session, entry, now, seconds=0.1, every=4)
        tuner.run(session, now)
        tuning = session.scalars(select(Tuning)).one()
        # The ticks go on being missed, because what starves the loop is something else.
        ran(session, entry, tuning.judge_at, seconds=0.1, every=4, ticks=TICKS)
        tuner.judge(session, tuning.judge_at)
        assert (tuning.state, entry.interval_s) == (TuningState.ROLLED_BACK, 10.0)
        later = tuning.judge_at + timedelta(hours=2)
        ran(session, entry, later, seconds=0.1, every=4)
        assert tuner.propose(session, [entry], later) is None
        next_day = tuning.judge_at + timedelta(days=1, hours=1)
        ran(session, entry, next_day, seconds=0.1, every=4)
        assert tuner.propose(session, [entry], next_day) is not None


def test_one_change_at_a_time_the_most_urgent_first(tuner: MetaLoop) -> None:
    now = utcnow()
    with transaction() as session:
        mild, heavy = loop(session, "checks.mild"), loop(session, "checks.heavy")
        ran(session, mild, now, seconds=6.0)
        ran(session, heavy, now, seconds=12.0)
        tuner.run(session, now)
        assert (mild.interval_s, heavy.interval_s) == (10.0, 20.0)
        assert tuner.run(session, now).observed["started"] is None


def test_a_loop_that_runs_well_or_has_not_run_long_enough_is_left_alone(tuner: MetaLoop) -> None:
    now = utcnow()
    with transaction() as session:
        ran(session, loop(session, "checks.well"), now, seconds=0.1)
        loop(session, "checks.new")
        assert tuner.run(session, now).observed["started"] is None


def test_a_relieved_loop_is_restored_when_it_is_idle(tuner: MetaLoop) -> None:
    now = utcnow()
    with transaction() as session:
        entry = loop(session, "checks.idle")
        entry.interval_s = 40.0
        session.flush()
        ran(session, entry, now, seconds=0.1)
        tuner.run(session, now)
        assert entry.interval_s == 20.0


def test_an_interval_is_not_stretched_without_end(tuner: MetaLoop) -> None:
    now = utcnow()
    with transaction() as session:
        entry = loop(session, "checks.hopeless")
        entry.interval_s = 40.0
        session.flush()
        ran(session, entry, now, seconds=60.0)
        assert tuner.run(session, now).observed["started"] is None


def test_each_change_stands_in_the_audit_log(tuner: MetaLoop) -> None:
    now = utcnow()
    with transaction() as session:
        ran(session, loop(session, "checks.slow"), now, seconds=9.0)
        tuner.run(session, now)
        actions = [row.action for row in audit.rows_after(session, 0)]
    assert actions == ["governance.allow", "contract.held", "tuning.started"]


def test_an_interval_that_does_not_take_is_rolled_back_by_its_contract(tuner: MetaLoop) -> None:
    """The database itself refuses the change, as a rule of its owner's might."""
    now = utcnow()
    with transaction() as session:
        ran(session, loop(session, "checks.slow"), now, seconds=9.0)
        session.execute(
            text(
                "CREATE TRIGGER pinned AFTER UPDATE OF interval_s ON beat_entries "
                "WHEN NEW.interval_s <> 10 BEGIN "
                "UPDATE beat_entries SET interval_s = 12 WHERE name = NEW.name; END"
            )
        )
        tuner.run(session, now)
        tuning = session.scalars(select(Tuning)).one()
        assert (tuning.state, tuning.ended_at) == (TuningState.ROLLED_BACK, now)
        assert "was to be 20.0 and is 12" in tuning.why
        assert session.scalar(select(BeatEntry.interval_s)) == 10.0
        (contract,) = session.scalars(select(ActionContract))
        assert (contract.state, contract.actor) == (ContractState.ROLLED_BACK, "kernels.meta_loop")
        actions = [row.action for row in audit.rows_after(session, 0)]
    assert actions == ["governance.allow", "contract.rolled_back", "tuning.rolled_back"]


class NeverRollsBack(MetaLoop):
    def judge(self, session: Session, now: datetime) -> Tuning | None:
        """Keep whatever is on trial."""
        tuning = session.scalar(select(Tuning).where(Tuning.state == TuningState.TRIAL))
        if tuning is not None:
            tuning.state, tuning.ended_at = TuningState.KEPT, now
        return tuning


class ChangesNothing(MetaLoop):
    def propose(self, *_given: object) -> None:
        """Find nothing to change, ever."""


@pytest.mark.parametrize("kind", [NeverRollsBack, ChangesNothing])
def test_a_broken_tuner_fails_its_probe(tuner: MetaLoop, kind: type[MetaLoop]) -> None:
    with transaction() as session:
        assert not kind(tuner.context).probe(session).passed

"""A database or a broker that is killed: no entry is made, no exit is lost, no order is doubled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks.stack import PostgresServer
from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import BrokerUnavailableError, StoreUnavailableError
from homeostat.settings import settings
from homeostat.store import database, jobs, redis, trading
from homeostat.store.database import transaction
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.jobs import Job, JobState
from homeostat.store.trading import PAPER, DecisionCycle, Order
from homeostat.trading import flow
from tasks import trade
from tests.component.trading.test_flow import opened, permit, touch_all_stops
from tests.conftest import forget_settings
from workers import dispatch
from workers.config import celery_settings


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, migrated, which it may kill."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or not shutil.which("runuser"):
        pytest.skip("no PostgreSQL server binaries in /usr/lib/postgresql/*/bin")
    # Not pytest's own folder: each session of pytest closes that to all other users.
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder)) as started:
        monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", started.url)
        forget_settings()
        database.migrate()
        yield started
        database.engine().dispose()


def held_at(at: datetime) -> int:
    """Open positions, commit them, and put each stop where the next bar must touch it."""
    with transaction() as session:
        held = opened(session, at)
        touch_all_stops(session)
        return len(held)


def orders_per_key() -> int:
    """Return the most orders that any one decision has of any one kind."""
    with transaction() as session:
        counted = select(func.count().label("orders")).select_from(Order)
        grouped = counted.group_by(Order.decision_id, Order.kind).subquery()
        return int(session.scalar(select(func.max(grouped.c.orders))) or 0)


def cycles() -> int:
    with transaction() as session:
        return int(session.scalar(select(func.count()).select_from(DecisionCycle)) or 0)


def test_a_database_that_is_killed_decides_nothing_and_the_stops_are_made_good(
    server: PostgresServer,
) -> None:
    now = utcnow()
    held = held_at(now)
    server.stop()
    with pytest.raises(StoreUnavailableError):
        trade.cycle.run(due_at=(now + timedelta(minutes=1)).isoformat())
    server.start()
    assert cycles() == 1
    # Back again, the leave to trade has expired; every bar that was missed happens.
    done = trade.cycle(due_at=(now + timedelta(minutes=5)).isoformat())
    assert done is not None
    assert (done["opened"], done["closed"]) == (0, held)
    assert done["rules"] == {"SAFETY_POLICY_EXPIRED": 222}
    assert orders_per_key() == 1


@pytest.mark.parametrize("careful", [False, True])
def test_a_database_that_dies_in_the_middle_of_a_tick_keeps_all_of_it_or_nothing(
    server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    careful: bool,  # noqa: FBT001  # with a savepoint around each question, and without
) -> None:
    now = utcnow()
    later = now + timedelta(minutes=1)
    held = held_at(now)
    with transaction() as session:
        permit(session, later)

    class Kills:
        """The supervisor; at its question the server dies, after the exits, before the entries."""

        def __getattr__(self, name: str) -> Any:
            return getattr(registry.find("trading.model_supervisor"), name)

        def count(self, session: Session, *_counted: object) -> int:
            session.flush()
            server.stop()
            return 0

    def find(name: str) -> Any:
        return Kills() if name == "trading.model_supervisor" else registry.find(name)

    cycle, assumed = flow.cycle, {"find": find, "careful": careful}
    with monkeypatch.context() as patch:
        patch.setattr(flow, "cycle", lambda *given, **more: cycle(*given, **{**more, **assumed}))
        with pytest.raises(StoreUnavailableError):
            trade.cycle.run(due_at=later.isoformat())
    server.start()
    assert cycles() == 1
    with transaction() as session:
        assert len(trading.open_positions(session, PAPER)) == held
    done = trade.cycle(due_at=later.isoformat())
    assert done is not None
    assert done["closed"] == held
    assert orders_per_key() == 1


@pytest.mark.usefixtures("sqlite_store")
def test_a_broker_that_is_killed_renews_no_leave_and_holds_back_no_exit() -> None:
    """Beat and checks need the broker; a tick that a worker has already got does not."""
    now = utcnow()
    held = held_at(now)
    due = (now + timedelta(minutes=4)).isoformat()
    app = Celery("killed-broker-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))
    dispatcher = dispatch.CeleryDispatcher(app)
    with EmbeddedServer(settings()) as server:
        with transaction() as session:
            job = jobs.enqueue(session, "trade.cycle", {"due_at": due}, queue="trade")
        assert job is not None
        dispatcher.send("trade.canary", {}, queue="trade")
        assert server._process
        server._process.kill()
        server._process.wait()
        assert not redis.answers()
        with pytest.raises(BrokerUnavailableError):
            dispatcher.send("trade.canary", {}, queue="trade")
        done = trade.cycle(due_at=due, job_id=job)
        assert done is not None
        assert done["rules"] == {"SAFETY_POLICY_EXPIRED": 222}
        assert done["closed"] == held
        with transaction() as session:
            assert session.get_one(Job, job).state == JobState.DONE
        # The message that was lost with the broker, sent again, finds the work done.
        assert trade.cycle(due_at=due, job_id=job) is None
    assert cycles() == 2
    assert orders_per_key() == 1

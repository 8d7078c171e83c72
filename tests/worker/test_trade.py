"""The trade flow on real prefork workers: one decision a tick whatever is sent or killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from celery import Celery
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.base import Base
from homeostat.store.database import migrate, reading, transaction
from homeostat.store.jobs import enqueue
from homeostat.store.trading import (
    Decision,
    DecisionCycle,
    Directive,
    HookFiring,
    ModelRecord,
    Order,
    SafetyPolicy,
    UniverseSnapshot,
    decision_id,
)
from homeostat.trading.market import port
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.models import artifacts, training
from homeostat.trading.models.agent import BOOSTED
from homeostat.trading.replay import replay
from tasks.trade import cycle
from tests.component.trading.test_flow import permit
from tests.waiting import wait_until
from workers import queues
from workers.config import celery_settings
from workers.dispatch import CeleryDispatcher, send_jobs

ROOT = Path(__file__).parents[2]


@contextmanager
def worker(log: Path, queue: str = "trade") -> Iterator[subprocess.Popen[bytes]]:
    """A real worker of one queue with two children."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", queue]
    command += ["-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            # A child waits up to 30 s for its parent to have taken its results in, and a parent
            # that was parting from a killed sibling may have passed one over (billiard.pool).
            process.wait(60)


def dispatcher() -> CeleryDispatcher:
    app = Celery("trade-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))
    return CeleryDispatcher(app)


def count(model: type[Base]) -> int:
    with reading() as session:
        return int(session.scalar(select(func.count()).select_from(model)) or 0)


@pytest.mark.usefixtures("sqlite_store")
def test_forty_unfit_symbols_abstain_by_name_in_one_line_beside_a_lightgbm_champion(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = utcnow()
    market = port.market(settings())
    names = [one.symbol for one in market.instruments]
    since = int((now - timedelta(minutes=90)).timestamp())
    market.inject(
        MarketFault(kind=FaultKind.FLATLINE, since=since, symbols=tuple(names[:15]), bars=200),
        MarketFault(kind=FaultKind.GAP, since=since + 3_600, symbols=tuple(names[15:30]), bars=3),
        MarketFault(kind=FaultKind.DELISTING, since=since, symbols=tuple(names[30:40])),
    )
    content = training.train(market.strip.window(0, 2_160), BOOSTED).model.content()
    with transaction() as session:
        artifacts.promote(session, artifacts.file(session, BOOSTED, content, {}))
    with caplog.at_level(logging.WARNING, logger="tasks.trade"):
        summary = cycle(now.isoformat())
    assert summary["abstained"] == {"CONSTANT": 15, "GAPPED": 15, "STALE": 10}
    (line,) = [one.getMessage() for one in caplog.records if one.name == "tasks.trade"]
    assert line == "40 of 222 symbols abstained: 15 CONSTANT, 15 GAPPED, 10 STALE"
    with reading() as session:
        (head,) = session.scalars(select(DecisionCycle)).all()
        assert head.inputs["model"]["name"] == BOOSTED
        decided = select(func.count()).where(Decision.confidence >= 0.5)
        assert session.scalar(decided) == 182
        (record,) = session.scalars(select(ModelRecord)).all()
        assert record.abstained == summary["abstained"]


@pytest.mark.usefixtures("embedded_broker")
def test_a_tick_is_decided_once_and_the_canary_fires_on_a_worker(tmp_path: Path) -> None:
    migrate()
    sender, due = dispatcher(), utcnow().isoformat()
    with worker(tmp_path / "worker.log"):
        for _ in range(4):
            sender.send("trade.cycle", {"due_at": due, "entry": "trade.cycle", "interval_s": 60})
        with transaction() as session:
            asked = enqueue(session, "trade.canary", {"run_id": "run-1"}, queue=queues.TRADE)
        assert send_jobs(sender, [str(asked)]) == 1
        wait_until(lambda: count(HookFiring) == 9, "the canary's nine hooks are recorded", 120)
        wait_until(lambda: count(Decision) >= 223, "the cycle's 222 decisions", 120)
    with reading() as session:
        fired = session.scalars(select(HookFiring.fired)).all()
        cycles = session.scalars(select(DecisionCycle.book)).all()
    assert fired == [True] * 9
    assert sorted(cycles) == ["canary", "paper"]
    assert count(Decision) == 223


def leave_to_trade(session: Session, at: datetime) -> None:
    """Permit entries for the whole test, so that there are orders that could be doubled."""
    permit(session, at)
    until = {"expires_at": at + timedelta(hours=1)}
    for model in (Directive, SafetyPolicy, UniverseSnapshot):
        session.execute(update(model).values(**until))


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_broker")
def test_killed_children_double_no_order(tmp_path: Path) -> None:
    migrate()
    sender, first = dispatcher(), utcnow()
    with transaction() as session:
        leave_to_trade(session, first)
        ids = [
            enqueue(
                session,
                "trade.cycle",
                {"due_at": (first + timedelta(minutes=minute)).isoformat()},
                queue=queues.TRADE,
            )
            for minute in range(30)
        ]
    with worker(tmp_path / "worker.log") as process:
        # Every message twice: what was delivered again must find its work done.
        send_jobs(sender, [str(one) for one in ids])
        send_jobs(sender, [str(one) for one in ids])
        for kill in range(5):
            ran = 4 * kill
            wait_until(lambda: count(DecisionCycle) > ran, "more cycles ran", 120)  # noqa: B023  # called at once
            for child in psutil.Process(process.pid).children()[:1]:
                os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: count(DecisionCycle) == 30, "all thirty ticks are decided", 240)
    with reading() as session:
        doubled = session.execute(
            select(Order.decision_id, Order.kind)
            .group_by(Order.decision_id, Order.kind)
            .having(func.count() > 1)
        ).all()
        sent = session.scalars(select(Order.decision_id).where(Order.kind == "ENTRY")).all()
        approved = session.execute(
            select(Decision.cycle_id, Decision.symbol).where(Decision.approved)
        ).all()
        minute = timedelta(minutes=1)
        report = replay(session, settings(), first - minute, first + 31 * minute)
    assert doubled == []
    assert (report.differing, report.otherwise, report.changed) == ([], [], [])
    assert len(report.decisions) == 30 * 222
    assert count(Decision) == 30 * 222
    assert sorted(sent) == sorted(decision_id(*one) for one in approved)
    assert len(sent) > 3

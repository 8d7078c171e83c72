"""Orders on real prefork workers at the loopback venue: one fill whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from celery import Celery
from sqlalchemy import select

from homeostat.settings import settings
from homeostat.store.database import migrate, reading
from homeostat.store.jobs import Job
from homeostat.store.trading import Order
from homeostat.trading.venue.loopback import Fault, FaultKind, LoopbackExchange, SetPrices, serving
from tests.conftest import forget_settings
from tests.loopback_venue import INSTRUMENTS
from tests.venue_book import want_entry
from tests.waiting import wait_until
from workers.config import celery_settings
from workers.dispatch import CeleryDispatcher, send_jobs

ROOT = Path(__file__).parents[2]
ORDER = "POST /fapi/v1/order"


@contextmanager
def worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker of the trade queue with two children."""
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", "trade"]
    command += ["-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ.copy(), stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def state(client_id: str) -> str:
    with reading() as session:
        return session.get_one(Order, client_id).state


def send_open_jobs() -> None:
    app = Celery("venue-test", set_as_current=False)
    app.config_from_object(celery_settings(settings()))
    with reading() as session:
        ids = list(session.scalars(select(Job.id).where(Job.task == "trade.order")))
    send_jobs(CeleryDispatcher(app), ids)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_broker")
def test_a_child_killed_while_the_venue_fills_its_order_fills_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = LoopbackExchange(INSTRUMENTS, SetPrices({"BTCUSDT": 60_000.0, "DOGEUSDT": 0.1}))
    with serving(exchange) as server:
        monkeypatch.setenv("HOMEOSTAT_VENUE", "loopback")
        monkeypatch.setenv("HOMEOSTAT_VENUE_URL", server.url)
        forget_settings()
        migrate()
        client_id = want_entry()
        # It is filled, and the answer takes longer than the child will live.
        exchange.script.put([Fault(FaultKind.DRIP, ORDER, seconds=20.0)])
        with worker(tmp_path / "worker.log") as process:
            send_open_jobs()
            wait_until(lambda: exchange.account.fills, "the venue fills the order", 90)
            assert state(client_id) == "SENT"
            for child in psutil.Process(process.pid).children():
                os.kill(child.pid, signal.SIGKILL)
            wait_until(lambda: state(client_id) == "FILLED", "the order is found and booked", 90)
            stop = wait_until(
                lambda: list(exchange.account.open(conditional=True)),
                "the stop rests",
                90,
            )
    assert [fill.client_id for fill in exchange.account.fills] == [client_id]
    assert sum(line == ORDER for line, _ in exchange.log) == 1
    assert {one.symbol for one in stop} == {"BTCUSDT"}

"""The venue that the settings name: the flow's orders go there, and its health is seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from homeostat import registry
from homeostat.cli.trade import app
from homeostat.clock import utcnow
from homeostat.errors import SettingsError
from homeostat.settings import settings
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.database import reading, transaction
from homeostat.store.jobs import Job, JobState
from homeostat.store.trading import CANARY, PAPER, Directive, Order, SafetyPolicy
from homeostat.trading import flow, health, venue
from homeostat.trading.flow.ground import VENUE_RECONCILED
from homeostat.trading.flow.reconcile import reconcile
from homeostat.trading.flow.settling import settle
from homeostat.trading.health import Level
from homeostat.trading.venue import choice
from homeostat.trading.venue.loopback import (
    FaultKind,
    LoopbackExchange,
    MarketPrices,
    SetPrices,
    serving,
)
from tests.conftest import forget_settings
from tests.loopback_venue import Loopback


@pytest.fixture
def outside(
    loopback: Loopback, redis_url: str, monkeypatch: pytest.MonkeyPatch, sqlite_store: str
) -> Iterator[Loopback]:
    """The loopback venue, named by the settings."""
    del sqlite_store
    monkeypatch.setenv("HOMEOSTAT_VENUE", "loopback")
    monkeypatch.setenv("HOMEOSTAT_VENUE_URL", loopback.server.url)
    monkeypatch.setenv("HOMEOSTAT_REDIS_URL", redis_url)
    forget_settings()
    guard = choice.guard(settings())
    for key in guard.waits._redis.scan_iter("venue:loopback*"):
        guard.waits._redis.delete(key)
    yield loopback
    choice._exchange.cache_clear()


def permit(at: Any) -> None:
    """Give leave to trade, with a floor that the baseline's signals reach."""
    with transaction() as session:
        directive = Directive(
            version=1,
            issued_at=at,
            expires_at=at + timedelta(minutes=30),
            mode="NORMAL",
            health="HEALTHY",
            allow_new_trades=True,
            reduce_global_risk=False,
            scale_position_sizes=1.0,
            min_confidence=0.0,
            max_positions=8,
            max_leverage=20.0,
            max_concentration=0.3,
            reasons={},
        )
        policy = SafetyPolicy(
            at=at,
            expires_at=at + timedelta(minutes=30),
            policy="ALLOW_ALL",
            overall="healthy",
            targets={},
            actions=[],
        )
        session.add_all([directive, policy])
        registry.find("trading.universe_os").run(session, at)
        controls.set_on(session, VENUE_RECONCILED, actor="test", reason="reconciled")


def states(kind: str) -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Order.state).where(Order.kind == kind)))


@pytest.mark.usefixtures("outside")
def test_positions_outside_are_not_added_to() -> None:
    assert not venue.takes_adds(PAPER)
    assert venue.takes_adds(CANARY)


@pytest.mark.usefixtures("outside")
def test_the_flow_writes_orders_down_and_sends_them_after_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prices = MarketPrices(settings())
    with serving(LoopbackExchange(prices.market.instruments, prices)) as server:
        monkeypatch.setenv("HOMEOSTAT_VENUE_URL", server.url)
        forget_settings()
        permit(utcnow())
        with transaction() as session:
            summary = flow.cycle(session, utcnow(), settings())
            assert summary is not None
        assert summary.opened > 0
        assert set(states("ENTRY")) == {"NEW"}
        assert server.exchange.account.fills == []
        with reading() as session:
            asked = session.scalars(select(Job.kwargs).where(Job.task == "trade.order")).all()
        exchange = choice.exchange(settings())
        for job in asked:
            assert settle(transaction, exchange, job["client_id"]) == "FILLED"
        with reading() as session:
            held = {
                one.symbol: one.side * one.quantity for one in store.open_positions(session, PAPER)
            }
        there = {symbol: one.quantity for symbol, one in exchange.holdings().items()}
        assert there == pytest.approx(held)
        assert len(there) == summary.opened
        assert len(exchange.resting()) == 2 * summary.opened
        with transaction() as session:
            session.execute(update(Order).values(updated_at=utcnow() - timedelta(seconds=30)))
        found = reconcile(transaction, exchange)
        assert (found.closed, found.flattened, found.protected) == ({}, {}, [])


def test_the_canary_stays_on_paper(outside: Loopback) -> None:
    with transaction() as session:
        fired = {one.hook: one.fired for one in flow.canary(session, "run-1")}
    assert all(fired.values())
    assert outside.exchange.log == []


def connection() -> health.Reading:
    with transaction() as session:
        return health.exchange_connection(health.Ground(settings(), session, utcnow()))


def test_ban_and_open_circuit_are_seen_by_self_healing(outside: Loopback) -> None:
    del outside
    guard = choice.guard(settings())
    assert connection().level is Level.HEALTHY
    guard.waits.publish(time.time() + 10)
    assert connection().level is Level.DEGRADED
    guard.waits.publish(time.time() + 120)
    assert connection().level is Level.CRITICAL
    guard.waits._redis.delete("venue:loopback:wait")
    assert connection().level is Level.HEALTHY
    guard.breaker._circuit.open()
    assert "open" in connection().reason
    assert connection().level is Level.CRITICAL


def test_the_command_tells_how_the_venue_stands(outside: Loopback) -> None:
    outside.put(FaultKind.BUSY_503, times=2)
    exchange = choice.exchange(settings())
    with pytest.raises(Exception, match="unknown"):
        exchange.balance()
    told = CliRunner().invoke(app, ["venue", "status", "-o", "json"])
    assert told.exit_code == 0, told.output
    assert '"failures_in_a_row": 1' in told.output
    assert '"circuit": "closed"' in told.output


def test_reconcile_by_hand_flattens_what_is_no_one_s(outside: Loopback) -> None:
    client = outside.naive(enableRateLimit=False)
    client.create_order("DOGE/USDT:USDT", "market", "sell", 1000)
    told = CliRunner().invoke(app, ["venue", "reconcile", "-o", "json"])
    assert told.exit_code == 0, told.output
    assert '"flattened": {"DOGEUSDT": -1000.0}' in told.output
    assert outside.amount("DOGEUSDT") == 0


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"HOMEOSTAT_VENUE": "loopback"}, "venue serve"),
        (
            {"HOMEOSTAT_VENUE": "loopback", "HOMEOSTAT_VENUE_URL": "http://10.1.2.3:80"},
            "on this machine",
        ),
        ({"HOMEOSTAT_VENUE": "binance"}, "secret://NAME"),
        (
            {
                "HOMEOSTAT_VENUE": "binance",
                "HOMEOSTAT_VENUE_KEY": "in-clear",
                "HOMEOSTAT_VENUE_SECRET": "secret://venue-secret",
            },
            "secret://NAME",
        ),
        ({}, "paper venue"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    forget_settings()
    with pytest.raises(SettingsError, match=sentence):
        choice.endpoint(settings())


@pytest.mark.usefixtures("sqlite_store")
def test_keys_are_kept_encrypted_and_looked_up_by_name(
    monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    kept = CliRunner().invoke(app, ["venue", "keys"], input="the-key\nthe-secret\n")
    assert kept.exit_code == 0, kept.output
    assert "the-key" not in kept.output
    monkeypatch.setenv("HOMEOSTAT_VENUE", "binance")
    for line in kept.output.splitlines():
        if line.startswith("HOMEOSTAT_"):
            monkeypatch.setenv(*line.split("=", 1))
    forget_settings()
    found = choice.endpoint(settings())
    assert (found.url, found.key, found.secret) == ("", "the-key", "the-secret")
    assert "the-secret" not in repr(found)
    assert b"the-secret" not in (state_dir / "homeostat.sqlite3").read_bytes()


def test_paper_needs_no_venue() -> None:
    assert not settings().trades_outside
    assert SetPrices({"BTCUSDT": 1.0}).now()["BTCUSDT"] == 1


@pytest.mark.usefixtures("outside")
def test_a_start_asks_for_a_reconciliation_before_the_first_tick() -> None:
    from tasks import boot
    from tasks import venue as tasks

    boot.reconcile_first(boot.boot_all)
    with reading() as session:
        (job,) = session.scalars(select(Job).where(Job.task == "trade.reconcile"))
        assert (job.queue, job.priority, job.state) == ("trade", 9, JobState.PENDING)
    found = tasks.reconcile(job_id=job.id)
    assert found is not None
    assert found["waiting"] == ""
    with reading() as session:
        assert session.get_one(Job, job.id).state == JobState.DONE
    assert tasks.reconcile(job_id=job.id) is None


def test_no_entry_goes_out_before_the_first_reconciliation_that_the_venue_answers(
    outside: Loopback,
) -> None:
    from tasks import boot

    begin = utcnow()
    permit(begin)
    boot.reconcile_first(boot.boot_all)
    assert rules_at(begin) == {"VENUE_UNRECONCILED"}
    exchange = choice.exchange(settings())
    outside.put(FaultKind.BUSY_503, "GET /fapi/v3/positionRisk")
    assert reconcile(transaction, exchange).waiting
    assert rules_at(begin + timedelta(minutes=1)) == {"VENUE_UNRECONCILED"}
    assert not reconcile(transaction, exchange).waiting
    assert "VENUE_UNRECONCILED" not in rules_at(begin + timedelta(minutes=2))
    with transaction() as session:
        session.get_one(controls.Control, VENUE_RECONCILED).until = utcnow()
    assert rules_at(begin + timedelta(minutes=3)) == {"VENUE_UNRECONCILED"}


def rules_at(moment: datetime) -> set[str]:
    """Run the flow's tick of that moment and return the rules that decided."""
    with transaction() as session:
        summary = flow.cycle(session, moment, settings())
    assert summary is not None
    return set(summary.rules)


@pytest.mark.usefixtures("sqlite_store")
def test_a_start_on_paper_asks_for_none() -> None:
    from tasks import boot

    boot.reconcile_first(boot.boot_all)
    with reading() as session:
        assert session.scalars(select(Job)).all() == []

"""Funding, fees and the wallet: what the venue's account says is what the book says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update

from homeostat.clock import utcnow
from homeostat.store import trading as store
from homeostat.store.database import reading, transaction
from homeostat.store.trading import PAPER, Order, Position, VenueIncome
from homeostat.trading.flow import accounting
from homeostat.trading.flow.reconcile import reconcile
from homeostat.trading.flow.settling import settle
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.loopback import FaultKind
from homeostat.trading.venue.outcomes import BadRowsError
from tests.loopback_venue import Loopback
from tests.venue_book import age_all, equity, position, want_entry

Connect = Callable[..., Exchange]
pytestmark = pytest.mark.usefixtures("store")


def held(exchange: Exchange) -> Position:
    assert settle(transaction, exchange, want_entry()) == "FILLED"
    with transaction() as session:
        before = utcnow() - timedelta(minutes=1)
        session.execute(update(Position).values(opened_at=before))
    age_all()
    return position()


def test_funding_is_charged_to_the_position_that_was_open_and_only_once(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    before, money = held(exchange), equity()
    loopback.exchange.account.fund(loopback.prices.now())
    paid = 0.01 * 60_000 * 0.0001
    for _ in range(2):
        done = reconcile(transaction, exchange)
        assert done.waiting == ""
    assert position().costs - before.costs == pytest.approx(paid)
    assert equity() - money == pytest.approx(-paid)
    assert done.funding == {}
    with reading() as session:
        row = session.scalars(select(VenueIncome).where(VenueIncome.kind == "FUNDING_FEE")).one()
        assert (row.symbol, row.decision_id) == ("BTCUSDT", before.decision_id)
        assert row.amount == pytest.approx(-paid)


def test_funding_of_a_time_before_the_position_is_not_its_own(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    before = held(exchange)
    loopback.exchange.account.fund(loopback.prices.now())
    with transaction() as session:
        later = utcnow() + timedelta(minutes=1)
        session.execute(update(Position).values(opened_at=later))
    done = reconcile(transaction, exchange)
    assert done.funding["BTCUSDT"] == pytest.approx(-0.06)
    assert position().costs == before.costs


def test_a_wallet_that_differs_is_believed_and_the_gap_is_told(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    held(exchange)
    money = equity()
    loopback.exchange.account.wallet -= Decimal("12.5")
    done = reconcile(transaction, exchange)
    assert done.equity_gap == pytest.approx(12.5, abs=0.02)
    assert equity() == pytest.approx(money - 12.5, abs=0.02)
    assert reconcile(transaction, exchange).equity_gap == 0.0


def test_a_wallet_is_not_believed_while_an_order_is_under_way(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    held(exchange)
    loopback.exchange.account.wallet -= Decimal("12.5")
    money = equity()
    with transaction() as session:
        order = session.scalars(select(Order).where(Order.kind == "STOP")).one()
        order.state = "UNKNOWN"
    assert accounting.adopt_equity(transaction, exchange) == 0.0
    assert equity() == money


def test_a_new_book_begins_with_the_wallet_and_no_fall(
    loopback: Loopback, connected: Connect
) -> None:
    loopback.exchange.account.wallet = Decimal(500)
    with transaction() as session:
        store.book_of(session, PAPER)
    assert reconcile(transaction, connected()).equity_gap == pytest.approx(9_500)
    with reading() as session:
        book = store.book_of(session, PAPER)
        assert (book.equity, book.peak_equity) == (500.0, 500.0)


def test_money_paid_in_or_out_is_neither_profit_nor_fall(
    loopback: Loopback, connected: Connect
) -> None:
    exchange = connected()
    held(exchange)
    with reading() as session:
        peak = store.book_of(session, PAPER).peak_equity
    money = equity()
    loopback.exchange.account.transfer(Decimal(-4_000))
    reconcile(transaction, exchange)
    with reading() as session:
        assert store.book_of(session, PAPER).peak_equity == pytest.approx(peak - 4_000)
    assert equity() == pytest.approx(money - 4_000, abs=0.02)


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATED, FaultKind.BUSY_503], ids=str)
def test_an_account_that_is_not_told_whole_books_nothing(
    loopback: Loopback, connected: Connect, kind: FaultKind
) -> None:
    exchange = connected()
    before = held(exchange)
    loopback.exchange.account.fund(loopback.prices.now())
    loopback.put(kind, "GET /fapi/v1/income")
    assert reconcile(transaction, exchange).waiting
    assert position().costs == before.costs
    with reading() as session:
        assert session.scalar(select(func.count()).select_from(VenueIncome)) == 0
    assert reconcile(transaction, exchange).funding["BTCUSDT"] == pytest.approx(-0.06)


def test_a_line_that_is_no_number_is_refused(loopback: Loopback, connected: Connect) -> None:
    exchange = connected()
    exchange.balance()
    told: Any = [{"incomeType": "FUNDING_FEE", "income": "much", "time": 1, "tranId": 1}]
    client = exchange._connected()
    client.fapiPrivateGetIncome = lambda _asked: told
    with pytest.raises(BadRowsError):
        exchange.incomes(0.0)
    del loopback

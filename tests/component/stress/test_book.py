from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from homeostat.store.database import transaction
from homeostat.store.trading import (
    CANARY,
    PAPER,
    Decision,
    DecisionCycle,
    EquityPoint,
    Order,
    Position,
)
from homeostat.stress.evidence import book
from homeostat.stress.evidence.flow import decisions
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import BookFacts
from homeostat.stress.findings import Verdict
from homeostat.stress.plots import plots
from homeostat.stress.report import Report
from homeostat.stress.sections import flow
from tests.stress_facts import green

pytestmark = pytest.mark.usefixtures("sqlite_store")

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=1))


def position(symbol: str, opened_s: float, closed_s: float | None) -> Position:
    figures = dict.fromkeys(("stop", "take_profit", "trail", "partial", "risk_per_unit"), 1.0)
    found = Position(
        decision_id=symbol, book=PAPER, symbol=symbol, model="ewma", side=1, quantity=2.0,
        first_quantity=2.0, entry=10.0, mark=11.0, confidence=0.8, realised=3.0, **figures,
    )  # fmt: skip
    found.opened_at = START + timedelta(seconds=opened_s)
    found.closed_at = None if closed_s is None else START + timedelta(seconds=closed_s)
    return found


def order(number: int, at_s: float) -> Order:
    found = Order(
        client_id=f"o{number}", decision_id="d", book=PAPER, symbol="AAA", kind="ENTRY", side=1,
        quantity=1.0, reduce_only=False, state="FILLED",
    )  # fmt: skip
    found.created_at = START + timedelta(seconds=at_s)
    return found


def decision(cycle_id: str, symbol: str, *, approved: bool) -> Decision:
    figures = ("confidence", "price", "volatility", "take_profit", "stop_loss", "trail", "partial")
    rule = "OPENED" if approved else "NO_SIGNAL"
    return Decision(
        cycle_id=cycle_id, symbol=symbol, rule=rule, approved=approved, side=1, size=1.0,
        **dict.fromkeys(figures, 1.0),
    )  # fmt: skip


def gathered() -> BookFacts:
    """A book with one row before, two in and one after the window, of each kind."""
    with transaction() as session:
        for number, at_s in enumerate((-5.0, 5.0, 30.0, 65.0)):
            at = START + timedelta(seconds=at_s)
            session.add(
                EquityPoint(book=PAPER, at=at, equity=10_000.0 + number, open_positions=number)
            )
            session.add(order(number, at_s))
        session.add_all(
            [
                position("BEFORE", -60, -1),
                position("CLOSED", -60, 20),
                position("OPEN", 10, None),
                position("AFTER", 61, None),
            ]
        )
        session.flush()
        return book.gather(session, WINDOW, PAPER)


def test_the_book_of_a_report_holds_what_fell_into_its_window() -> None:
    found = gathered()
    assert [(point.t, point.value) for point in found.equity] == [(5.0, 10_001.0), (30.0, 10_002.0)]
    assert [point.value for point in found.open_positions] == [1, 2]
    assert found.orders == {"ENTRY FILLED": 2}
    assert [one.symbol for one in found.positions] == ["OPEN", "CLOSED"]


def test_the_decisions_of_a_report_are_the_books_and_not_the_canarys() -> None:
    with transaction() as session:
        for number, (kept, at_s) in enumerate(((PAPER, 5), (CANARY, 6), (PAPER, -1), (PAPER, 60))):
            cycle = DecisionCycle(
                id=f"c{number}", book=kept, due_at=START + timedelta(seconds=at_s), inputs={},
                counts={},
            )  # fmt: skip
            session.add(cycle)
            session.flush()
            for symbol, approved in (("A", True), ("B", False)):
                session.add(decision(cycle.id, symbol, approved=approved))
        session.flush()
        found = decisions(session, WINDOW)
    assert found == {"approved": {"OPENED": 1}, "blocked": {"NO_SIGNAL": 1}}


def test_the_report_shows_orders_positions_and_a_plot_of_the_equity() -> None:
    report = Report(
        **green().model_dump() | {"book": gathered()},
        verdict=Verdict.STABLE, grade="A", risk="", rests_on=[], findings=[], not_tested=[],
        hardening=[],
    )  # fmt: skip
    section = flow.section(report)
    assert [row[0] for row in section.tables[-1].rows] == ["OPEN", "CLOSED"]
    assert section.tables[-2].rows == [["ENTRY FILLED", 2]]
    assert section.plots == ["equity"]
    assert "equity" in plots(report)
    assert "equity" not in plots(report.model_copy(update={"book": None}))

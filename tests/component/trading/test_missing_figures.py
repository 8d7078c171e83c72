"""A figure that is missing, or no number, opens nothing and promotes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store import trading
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER
from homeostat.trading import flow, health
from homeostat.trading.dynamic_tpsl import volatility_scaled_arrays
from homeostat.trading.health import Level
from homeostat.trading.market import port
from homeostat.trading.market.panel import Panel
from homeostat.trading.models.features import NEED_BARS
from homeostat.trading.models.promotion import SHADOW, SHADOW_LABELS, refusal
from homeostat.trading.portfolio_balancer import Candidate, Held, Limits
from homeostat.trading.portfolio_balancer.limits import deny_code
from tests.component.trading.test_flow import permit, run
from tests.market_moment import MOMENT

NAN = math.nan
GOOD = {
    "deflated_sharpe": 0.99,
    "mean_return": 0.001,
    "brier": 0.24,
    "calibration_error": 0.05,
    "shadow_labels": SHADOW_LABELS,
}


@pytest.mark.parametrize(
    ("equity", "more", "code"),
    [
        (10_000.0, {}, ""),
        (NAN, {}, "CRITICAL_VIOLATIONS"),
        (0.0, {}, "CRITICAL_VIOLATIONS"),
        (10_000.0, {"risk": NAN}, "TOTAL_RISK_EXCEEDED"),
        (10_000.0, {"notional": NAN}, "INSUFFICIENT_MARGIN"),
    ],
)
def test_what_is_no_number_is_within_no_limit(
    equity: float, more: dict[str, float], code: str
) -> None:
    wished = {"risk": 100.0, "notional": 1_000.0, **more}
    one = Candidate("d", "A", 1, wished["risk"], wished["notional"])
    assert deny_code(one, Held(equity, []), Limits()) == code


@pytest.mark.parametrize("name", ["risk", "notional"])
def test_what_is_held_and_no_number_lets_nothing_else_in(name: str) -> None:
    held = {"risk": 100.0, "notional": 1_000.0, name: NAN}
    book = Held(10_000.0, [Candidate("d", "A", 1, held["risk"], held["notional"])])
    assert deny_code(Candidate("e", "B", 1, 100.0, 1_000.0), book, Limits())


@pytest.mark.parametrize("name", ["deflated_sharpe", "mean_return", "brier", "calibration_error"])
@pytest.mark.parametrize("champion", [None, GOOD])
def test_a_challenger_whose_figure_is_no_number_has_shown_nothing(
    name: str, champion: dict[str, float] | None
) -> None:
    assert refusal(GOOD, champion, SHADOW) == ""
    assert refusal({**GOOD, name: NAN}, champion, SHADOW) != ""


def test_a_symbol_without_a_volatility_has_no_barrier() -> None:
    component: Any = registry.find("trading.dynamic_tpsl")
    confidence, volatility = np.full(6, 0.7), np.array([0.02, 0.0, NAN, np.inf, -0.01, 10.0])
    found = component.barriers(confidence, volatility)
    assert (np.array(found)[:, 1:] == 0).all()
    alone = volatility_scaled_arrays(confidence[:1], volatility[:1])
    assert [one[0] for one in found] == [one[0] for one in alone]


def holed(panel: Panel, ago: int) -> Panel:
    """Return the panel without the bar of every symbol that opened so many bars ago."""
    fields = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close")}
    for values in fields.values():
        values[:, -ago] = np.nan
    return replace(panel, **fields)


def rules_with_a_hole(session: Session, ago: int) -> dict[str, int]:
    panel = port.market(settings()).panel(MOMENT, flow.LOOKBACK)
    permit(session, MOMENT)
    return run(session, MOMENT, panel=holed(panel, ago)).rules


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("ago", "rule"),
    [(NEED_BARS, "ABSTAIN_GAPPED"), (NEED_BARS + 1, "NO_BARRIER"), (121, "NO_BARRIER")],
)
def test_a_hole_in_what_is_read_opens_nothing_by_the_name_of_what_is_missing(
    ago: int, rule: str
) -> None:
    """What a model needs is 108 bars; the volatility of a stop is read from 121."""
    with transaction() as session:
        rules = rules_with_a_hole(session, ago)
        assert rules[rule] > 0
        assert "OPENED" not in rules


@pytest.mark.usefixtures("sqlite_store")
def test_a_hole_before_all_that_is_read_stops_nothing() -> None:
    with transaction() as session:
        rules = rules_with_a_hole(session, 122)
        assert rules["OPENED"] > 0
        assert "NO_BARRIER" not in rules


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("equity", "level"), [(10_000.0, Level.UNKNOWN), (0.0, Level.CRITICAL)])
def test_a_book_without_money_is_critical_while_it_has_risk(equity: float, level: Level) -> None:
    """Governance has no lease here: UNKNOWN is what is left where the risk is within its limit."""
    with transaction() as session:
        trading.book_of(session, PAPER).equity = equity
        session.add(
            trading.Reservation(
                decision_id="d",
                book=PAPER,
                symbol="A",
                side=1,
                cluster=0,
                risk=1.0,
                margin=1.0,
                notional=1.0,
            )
        )
        session.flush()
        ground = health.Ground(settings(), session, MOMENT)
        assert health.risk_guard(ground).level is level

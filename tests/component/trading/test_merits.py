"""Who of a batch goes first: confidence, tier, stability, cost and results, in the flow as well."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store.database import reading, transaction
from homeostat.store.trading import Decision, DecisionCycle, UniverseMember
from homeostat.trading.market import port
from homeostat.trading.market.panel import Instrument
from homeostat.trading.portfolio_balancer import Merit
from homeostat.trading.portfolio_balancer.merits import stability
from homeostat.trading.replay import replay
from tests.component.trading.test_flow import permit, run
from tests.component.trading.test_universe_os import panel_of
from tests.market_moment import MOMENT


def merits(session: Session, *known: UniverseMember, stop: float = 0.012) -> list[Merit]:
    """Return the merits of C0USDT and C1USDT with these standings, 0.0001 of half spread."""
    balancer: Any = registry.find("trading.portfolio_balancer")
    session.add_all(known)
    session.flush()
    panel = panel_of(0.001, 0.001)
    coins = [Instrument(symbol, base=symbol) for symbol in panel.symbols]
    found: list[Merit] = balancer.merits(session, panel, np.arange(2), np.full(2, stop), coins)
    return found


def member(symbol: str, tier: str, trades: int, sum_r: float) -> UniverseMember:
    return UniverseMember(symbol=symbol, tier=tier, trades=trades, wins=0, sum_r=sum_r)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("tier", "told"),
    [
        ("CORE", "CORE"),
        ("EXPANSION", "EXPANSION"),
        ("CONDITIONAL", "MONITORING"),
        ("BLACKLIST", ""),
    ],
)
def test_the_universes_tier_is_the_balancers(tier: str, told: str) -> None:
    with transaction() as session:
        assert merits(session, member("C1USDT", tier, 0, 0.0))[1].tier == told


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("trades", "sum_r", "performance"),
    [(9, 9.0, 0.0), (10, 5.0, 0.5), (10, -5.0, -0.5), (10, 15.0, 1.0), (10, -15.0, -1.0)],
)
def test_performance_is_the_mean_r_of_ten_trades_or_more(
    trades: int, sum_r: float, performance: float
) -> None:
    with transaction() as session:
        found = merits(session, member("C0USDT", "CORE", trades, sum_r))
    assert found[0].performance == performance
    # Who is not known has no tier and no results.
    assert (found[1].tier, found[1].performance) == ("", 0.0)


@pytest.mark.usefixtures("sqlite_store")
def test_cost_is_the_round_trip_in_units_of_the_stop() -> None:
    with transaction() as session:
        assert merits(session, stop=0.012)[0].cost == pytest.approx(0.1)
        assert merits(session, stop=0.024)[0].cost == pytest.approx(0.05)


@pytest.mark.parametrize("times", [0.5, 2.0])
def test_stability_falls_whether_the_last_quarter_hour_is_wilder_or_calmer(times: float) -> None:
    steps = 0.001 * np.tile((1.0, -1.0), 60)
    steady = np.exp(np.cumsum(np.concatenate([[0.0], steps])))[None, :]
    assert stability(steady)[0] == pytest.approx(1.0, abs=0.01)
    steps[-15:] *= times
    changed = np.exp(np.cumsum(np.concatenate([[0.0], steps])))[None, :]
    usual = np.std(steps)
    ratio = np.std(steps[-15:]) / usual
    assert stability(changed)[0] == pytest.approx(min(ratio, 1 / ratio))
    assert stability(np.ones((1, 121)))[0] == 0.0


def ranked(session: Session) -> list[tuple[str, float]]:
    """Return who got as far as the balancer, and the specification's sum of each; best first."""
    told: Any = session.scalars(select(DecisionCycle.inputs)).one()
    merits = told["book"]["merits"]
    points = {"CORE": 20.0, "EXPANSION": 10.0, "MONITORING": 5.0, "": 0.0}
    found = []
    for one in session.scalars(select(Decision).where(Decision.size > 0)):
        tier, stability, cost, performance = merits[one.symbol]
        bonus = points[tier] + 10 * stability - 5 * cost + 10 * performance
        found.append((one.symbol, 100 * one.confidence + bonus))
    return sorted(found, key=lambda one: -one[1])


def opened(session: Session) -> list[str]:
    return list(session.scalars(select(Decision.symbol).where(Decision.rule == "OPENED")))


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("tier", ["CORE", "BLACKLIST"])
def test_the_flow_lets_a_core_symbol_go_first_and_its_replay_remembers_why(tier: str) -> None:
    with transaction() as session:
        permit(session, MOMENT, max_positions=1)
        run(session, MOMENT)
        (best, most), (second, less) = ranked(session)[:2]
        assert opened(session) == [best]
        # CORE is worth 15 points more than MONITORING.
        assert 0 < most - less < 15
        session.rollback()
    with transaction() as session:
        permit(session, MOMENT, max_positions=1)
        session.get_one(UniverseMember, second).tier = tier
        session.flush()
        run(session, MOMENT)
        first = second if tier == "CORE" else best
        assert ranked(session)[0][0] == first
        assert opened(session) == [first]
    with transaction() as session:
        # What a symbol has earned since is no merit of then.
        session.get_one(UniverseMember, second).tier = "CONDITIONAL"
    with reading() as session:
        span = MOMENT - timedelta(minutes=1), MOMENT + timedelta(minutes=1)
        report = replay(session, settings(), *span)
    assert report.decisions
    assert (report.differing, report.changed) == ([], [])


@pytest.mark.usefixtures("sqlite_store")
def test_a_journal_that_tells_of_no_merits_is_derived_by_confidence_alone() -> None:
    with transaction() as session:
        permit(session, MOMENT)
        run(session, MOMENT)
        cycle = session.scalars(select(DecisionCycle)).one()
        book = {name: told for name, told in cycle.inputs["book"].items() if name != "merits"}
        cycle.inputs = {**cycle.inputs, "book": book}
    with reading() as session:
        span = MOMENT - timedelta(minutes=1), MOMENT + timedelta(minutes=1)
        assert replay(session, settings(), *span).decisions
    assert port.market(settings()).instruments

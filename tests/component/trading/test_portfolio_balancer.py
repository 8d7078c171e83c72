"""Reservations: each deny code from both sides, cumulative, atomic over eight processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import trading
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER, Directive, Reservation
from homeostat.testing import check_contract
from homeostat.trading import ai_hfos, portfolio_balancer
from homeostat.trading.ai_hfos import RiskMode
from homeostat.trading.market import port
from homeostat.trading.portfolio_balancer import (
    Candidate,
    Held,
    Limits,
    Moves,
    risk_parity,
    shrunk_covariance,
    sizes,
)
from homeostat.trading.portfolio_balancer.limits import shut
from tests.market_moment import MOMENT
from tests.positions import held_position

ROOT = Path(__file__).parents[3]


def wish(number: int, **more: Any) -> Candidate:
    usual: dict[str, Any] = {"side": 1 if number % 2 else -1, "risk": 100.0, "notional": 1_000.0}
    usual |= {"symbol": f"S{number}", "cluster": number}
    return Candidate(f"cycle.S{number}", **{**usual, **more})


def held_of(symbol: str, quantity: float) -> trading.Position:
    return held_position(
        decision_id=f"c.{symbol}",
        symbol=symbol,
        quantity=quantity,
        first_quantity=quantity,
        entry=10.0,
        stop=9.0,
        take_profit=12.0,
        trail=0.1,
        risk_per_unit=1.0,
        mark=10.0,
    )


def codes(
    *wishes: Candidate, limits: Limits | None = None, moves: Moves | None = None
) -> list[str]:
    balancer: Any = registry.find("trading.portfolio_balancer")
    with transaction() as session:
        return [one.code for one in balancer.reserve(session, PAPER, wishes, limits, moves)]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("held", "wished", "code"),
    [
        ([wish(1)], wish(2, symbol="S1"), "POSITION_ALREADY_OPEN"),
        ([wish(n) for n in range(7)], wish(9), ""),
        ([wish(n) for n in range(8)], wish(9), "MAX_POSITIONS_REACHED"),
        ([], wish(1, risk=200.0), ""),
        ([], wish(1, risk=200.1), "TOTAL_RISK_EXCEEDED"),
        ([wish(n, risk=200.0) for n in range(7)], wish(9, risk=100.0), ""),
        ([wish(n, risk=200.0) for n in range(7)], wish(9, risk=100.1), "TOTAL_RISK_EXCEEDED"),
        ([], wish(1, notional=3_000.0), ""),
        ([], wish(1, notional=3_000.1), "SYMBOL_CONCENTRATION"),
        ([wish(1, notional=2_000.0)], wish(2, notional=2_000.0, cluster=1), ""),
        (
            [wish(1, notional=2_000.0)],
            wish(2, notional=2_000.1, cluster=1),
            "CLUSTER_CONCENTRATION",
        ),
        ([wish(n, side=1, notional=2_500.0) for n in range(3)], wish(9, notional=500.0), ""),
        (
            [wish(n, side=1, notional=2_500.0) for n in range(3)],
            wish(9, side=1, notional=500.1),
            "NET_EXPOSURE",
        ),
        (
            [wish(n, side=1, notional=2_500.0) for n in range(3)],
            wish(9, side=-1, notional=500.1),
            "",
        ),
    ],
)
def test_each_code_is_reached_on_one_side_of_its_limit_only(
    held: list[Candidate], wished: Candidate, code: str
) -> None:
    assert codes(*held) == [""] * len(held)
    assert codes(wished) == [code]


@pytest.mark.usefixtures("sqlite_store")
def test_margin_and_gross_have_limits_of_their_own() -> None:
    tight = Limits(leverage=1.0, net=9.0, gross=9.0, symbol=9.0, cluster=9.0)
    assert codes(wish(1, notional=10_000.0), limits=tight) == [""]
    assert codes(wish(2, notional=0.1), limits=tight) == ["INSUFFICIENT_MARGIN"]
    loose = Limits(leverage=99.0, net=9.0, gross=1.0, symbol=9.0, cluster=9.0)
    assert codes(wish(2, notional=0.1), limits=loose) == ["GROSS_EXPOSURE"]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("limit", "code"), [(1.001, ""), (0.999, "MARGINAL_VARIANCE")])
def test_what_a_trade_adds_to_the_variance_has_a_limit(limit: float, code: str) -> None:
    draw = np.random.default_rng(4).standard_normal((2, 240)) * 0.001
    returns = np.stack([draw[0], draw[0] + 0.2 * draw[1]])
    covariance = np.cov(returns)
    # The second of two that move together: its own variance and twice what they share.
    weight, held = 2_000.0 / 10_000, 1_000.0 / 10_000
    added = 60 * (weight**2 * covariance[1, 1] + 2 * weight * held * covariance[0, 1])
    moves = Moves(["S1", "S2"], lambda: returns)
    limits = Limits(cluster=9.0, net=9.0, variance=limit * added)
    assert codes(wish(1, side=1, notional=1_000.0), limits=Limits(cluster=9.0)) == [""]
    assert codes(wish(2, side=1, notional=2_000.0), limits=limits, moves=moves) == [code]


def test_a_hedge_takes_variance_away_and_an_unknown_holding_is_dear() -> None:
    draw = np.random.default_rng(4).standard_normal((1, 240)) * 0.001
    moves = Moves(["A", "B"], lambda: np.concatenate([draw, draw]))
    alone = moves.added_variance("B", 1_000.0, {})
    assert moves.added_variance("B", -1_000.0, {"A": 1_000.0}) == pytest.approx(-alone)
    assert moves.added_variance("B", 1_000.0, {"GONE": -1_000.0}) == pytest.approx(3 * alone)


@pytest.mark.usefixtures("sqlite_store")
def test_clusters_are_those_of_the_present_returns() -> None:
    draw = np.random.default_rng(2).standard_normal((2, 240))
    together = Moves(["S1", "S2"], lambda: np.stack([draw[0], draw[0]]))
    apart = Moves(["S1", "S2"], lambda: draw)
    tight = Limits(cluster=0.15, variance=9.0)
    assert codes(wish(1, cluster=7)) == [""]
    assert codes(wish(2, cluster=8), limits=tight, moves=together) == ["CLUSTER_CONCENTRATION"]
    assert codes(wish(2, cluster=7), limits=tight, moves=apart) == [""]


@pytest.mark.usefixtures("sqlite_store")
def test_a_book_beyond_its_limits_takes_nothing() -> None:
    assert codes(*(wish(n, risk=200.0) for n in range(7))) == [""] * 7
    with transaction() as session:
        trading.book_of(session, PAPER).equity = 9_000.0
    assert codes(wish(9, risk=1.0)) == ["CRITICAL_VIOLATIONS"]
    # That outweighs that the symbol is held.
    assert codes(wish(9, symbol="S1", risk=1.0)) == ["CRITICAL_VIOLATIONS"]


@pytest.mark.usefixtures("sqlite_store")
def test_a_repeat_reserves_nothing_twice_and_a_release_makes_room() -> None:
    balancer: Any = registry.find("trading.portfolio_balancer")
    assert codes(*(wish(n) for n in range(8)), wish(3)).count("") == 9
    assert codes(wish(9)) == ["MAX_POSITIONS_REACHED"]
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Reservation)) == 8
        assert balancer.release(session, "cycle.S3")
        assert not balancer.release(session, "cycle.S3")
    assert codes(wish(9)) == [""]


def test_the_limits_are_the_specifications_and_the_rest_is_ours() -> None:
    specified = {
        "positions": 8,
        "total_risk": 0.15,
        "trade_risk": 0.02,
        "symbol": 0.30,
        "cluster": 0.40,
        "net": 0.80,
    }
    ours = {"gross": 2.0, "leverage": 20.0, "variance": pytest.approx(0.25 * 0.01**2)}
    assert vars(Limits()) == specified | ours


def test_priority_is_the_specifications_sum() -> None:
    one = wish(1, confidence=0.7, tier="CORE", stability=0.5, cost=2.0, performance=0.3)
    assert one.priority == pytest.approx(70 + 20 + 5 - 10 + 3)
    tiers = [wish(1, tier=tier).priority for tier in ("CORE", "EXPANSION", "MONITORING", "")]
    assert tiers == [20, 10, 5, 0]


@pytest.mark.usefixtures("sqlite_store")
def test_the_better_rival_is_served_first() -> None:
    weak, strong = wish(1, confidence=0.6, cluster=1), wish(2, confidence=0.9, cluster=1)
    balancer: Any = registry.find("trading.portfolio_balancer")
    with transaction() as session:
        verdicts = balancer.reserve(session, PAPER, [weak, strong], Limits(cluster=0.15))
    assert [(one.candidate.symbol, one.code) for one in verdicts] == [
        ("S2", ""),
        ("S1", "CLUSTER_CONCENTRATION"),
    ]


def test_a_directive_only_makes_limits_stricter() -> None:
    strict = Directive(max_positions=3, max_concentration=0.15, max_leverage=5.0)
    found = Limits().under(strict)
    assert (found.positions, found.symbol, found.leverage) == (3, 0.15, 5.0)
    loose = Directive(max_positions=99, max_concentration=0.9, max_leverage=100.0)
    assert Limits().under(loose) == Limits()


@pytest.mark.parametrize("stop", [0.003, 0.02, 0.069, 0.15])
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.3, 9.0])
def test_a_size_never_exceeds_risk_and_concentration(stop: float, scale: float) -> None:
    risk, notional = (float(x[0]) for x in sizes(10_000.0, np.array([stop]), scale, Limits()))
    assert risk <= 200.0 + 1e-9
    assert notional <= 3_000.0
    assert risk == pytest.approx(notional * stop)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("leverage", [20.0, 5.0])
def test_the_margin_that_is_set_aside_is_the_notional_by_the_leverage(leverage: float) -> None:
    assert codes(wish(1, notional=1_000.0), limits=Limits(leverage=leverage)) == [""]
    with transaction() as session:
        held = session.get_one(Reservation, "cycle.S1")
        assert held.margin == pytest.approx(1_000.0 / leverage)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("times", "named"), [(1.51, ["BTCUSDT"]), (1.49, [])])
def test_a_weight_is_worth_a_word_from_one_and_a_half_of_its_balanced_one(
    times: float, named: list[str]
) -> None:
    component: Any = registry.find("trading.portfolio_balancer")
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    panel = port.market(settings()).panel(MOMENT, 240)
    rows = [panel.symbols.index(symbol) for symbol in symbols]
    fair = risk_parity(shrunk_covariance(panel.log_returns()[rows]))
    rest = (1 - times * fair[0]) / (1 - fair[0])
    shares = [times * fair[0], rest * fair[1], rest * fair[2]]
    with transaction() as session:
        for symbol, share in zip(symbols, shares, strict=True):
            session.add(held_of(symbol, 10.0 * share))
        session.flush()
        assert component.run(session, MOMENT).observed["overweight"] == named


MODES = {
    RiskMode.CRITICAL: 0.3,
    RiskMode.SAFE: 0.6,
    RiskMode.NORMAL: 1.0,
    RiskMode.AGGRESSIVE: 1.3,
}


def sized(mode: RiskMode, stop: float) -> float:
    """Return the notional of a trade under the directive of a mode."""
    given = ai_hfos.MODES[mode]
    directive = Directive(
        max_positions=given.max_positions,
        max_concentration=given.max_concentration,
        max_leverage=given.max_leverage,
    )
    limits = Limits().under(directive)
    return float(sizes(10_000.0, np.array([stop]), given.scale, limits)[1][0])


@pytest.mark.parametrize("stop", [0.003, 0.0147, 0.069, 0.15])
@pytest.mark.parametrize(("mode", "share"), MODES.items())
def test_each_mode_scales_a_size_as_its_table_says(
    mode: RiskMode, share: float, stop: float
) -> None:
    """Narrow stops are the usual ones, and their size is capped: the cap is scaled as well."""
    assert sized(mode, stop) == pytest.approx(share * sized(RiskMode.NORMAL, stop))


def test_a_first_entry_leaves_room_for_two_adds_of_half_its_size() -> None:
    first = sized(RiskMode.NORMAL, 0.003)
    assert first == pytest.approx(0.499 * 3_000.0)
    assert sized(RiskMode.NORMAL, 0.1) == pytest.approx(0.01 * 10_000.0 / 0.1)
    assert 2 * sized(RiskMode.SAFE, 0.003) <= 0.2 * 10_000.0


def test_a_size_is_cut_at_the_limits_in_force() -> None:
    tight = Limits(symbol=0.05)
    assert float(sizes(10_000.0, np.array([0.003]), 1.0, tight)[1][0]) == pytest.approx(500.0)
    narrow = Limits(cluster=0.04)
    assert float(sizes(10_000.0, np.array([0.003]), 1.0, narrow)[1][0]) == pytest.approx(400.0)
    careful = Limits(trade_risk=0.005)
    assert float(sizes(10_000.0, np.array([0.1]), 1.0, careful)[0][0]) == pytest.approx(50.0)


@pytest.mark.parametrize(("equity", "code"), [(0.01, ""), (0.0, "CRITICAL_VIOLATIONS")])
def test_a_book_without_equity_takes_nothing(equity: float, code: str) -> None:
    assert shut(Held(equity, []), Limits()) == code


def test_clusters_follow_the_correlation() -> None:
    draw = np.random.default_rng(2).standard_normal((3, 400))
    returns = np.stack([draw[0], draw[0] + 0.2 * draw[1], draw[2]])
    moves = Moves(["A", "B", "C"], lambda: returns)
    assert [moves.cluster_of(symbol, -1) for symbol in "ABCX"] == [0, 0, 2, -1]


def test_risk_parity_gives_the_wild_less_and_sums_to_one() -> None:
    draw = np.random.default_rng(2).standard_normal((4, 500))
    weights = risk_parity(shrunk_covariance(draw * np.array([[1.0], [1.0], [1.0], [4.0]])))
    assert weights.sum() == pytest.approx(1.0)
    assert weights[3] < weights[:3].min() / 4
    assert (weights > 0).all()


@pytest.mark.parametrize("variances", [[1.0, 4.0], [1.0, 4.0, 9.0, 9.0], [2.0, 1.0, 5.0]])
def test_of_what_moves_apart_each_is_held_by_the_inverse_of_its_variance(
    variances: list[float],
) -> None:
    inverse = 1 / np.array(variances)
    assert risk_parity(np.diag(variances)) == pytest.approx(inverse / inverse.sum())


def test_shrinking_keeps_variances_and_makes_noise_smaller() -> None:
    draw = np.random.default_rng(2).standard_normal((6, 40))
    shrunk, sample = shrunk_covariance(draw), np.cov(draw)
    off = ~np.eye(6, dtype=bool)
    assert np.diag(shrunk) == pytest.approx(np.diag(sample))
    assert np.abs(shrunk[off]).sum() < 0.5 * np.abs(sample[off]).sum()


SUBMITTER = """
import random, sys
from types import SimpleNamespace
from homeostat import registry
from homeostat.store.database import transaction
from homeostat.trading.portfolio_balancer import Candidate
balancer, me = registry.find("trading.portfolio_balancer"), int(sys.argv[1])
every = int(sys.argv[2])
draw, mine = random.Random(me), []
for n in range(125):
    wish = Candidate(f"{me}.{n}", f"S{draw.randrange(40)}", draw.choice((1, -1)),
                     draw.uniform(1, 250), draw.uniform(10, 3500), draw.randrange(9))
    with transaction() as session:
        (verdict,) = balancer.reserve(session, "paper", [wish])
    if not verdict.code:
        mine.append(wish.decision_id)
        # A winner is added to, within the risk of its first entry or a little above.
        position = SimpleNamespace(book="paper", decision_id=wish.decision_id)
        more, risk = draw.uniform(10, 2000), wish.risk * draw.uniform(0.5, 1.5)
        with transaction() as session:
            growth = balancer.add(session, position, risk, more)
            if draw.random() < 0.3:
                balancer.withdraw(session, wish.decision_id, growth)
    if every and n % every == every - 1 and mine:
        with transaction() as session:
            balancer.release(session, mine.pop(0))
"""

WATCHER_SQL = select(Reservation).where(Reservation.book == PAPER, Reservation.state == "HELD")


def beyond_limits() -> list[str]:
    """Return the limits that what is held exceeds; none should be."""
    with transaction() as session:
        rows = session.scalars(WATCHER_SQL).all()
    by_symbol: dict[str, int] = {}
    by_cluster: dict[int, float] = {}
    for row in rows:
        by_symbol[row.symbol] = by_symbol.get(row.symbol, 0) + 1
        by_cluster[row.cluster] = by_cluster.get(row.cluster, 0.0) + row.notional
    within = {
        "positions": len(rows) <= 8,
        "risk": sum(row.risk for row in rows) <= 1_500.0,
        "one a symbol": max(by_symbol.values(), default=0) <= 1,
        "cluster": max(by_cluster.values(), default=0.0) <= 4_000.0,
        "each": all(row.notional <= 3_000.0 and row.risk <= 200.0 for row in rows),
        "net": abs(sum(row.side * row.notional for row in rows)) <= 8_000.0,
    }
    return [name for name, held in within.items() if not held]


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("releases_every", [0, 5])
def test_eight_processes_with_a_thousand_candidates_never_exceed_a_limit(
    releases_every: int,
) -> None:
    # What is given back may leave the rest on one side: no exit is refused for it.
    excused = ["net"] if releases_every else []
    submitters = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, str(n), str(releases_every)],
            cwd=ROOT,
            env=os.environ.copy(),
        )
        for n in range(8)
    ]
    looks = 0
    while any(one.poll() is None for one in submitters):
        assert beyond_limits() in ([], excused)
        looks += 1
    assert [one.returncode for one in submitters] == [0] * 8
    assert beyond_limits() in ([], excused)
    assert looks > 10
    with transaction() as session:
        assert trading.book_of(session, PAPER).version == 1_000
        taken = session.scalar(select(func.count()).select_from(Reservation))
        assert taken is not None
        assert taken > 20 if releases_every else taken <= 8


@pytest.mark.usefixtures("store")
def test_the_component_keeps_the_contract_and_leaves_no_trace_of_its_probe() -> None:
    with transaction() as session:
        check_contract(registry.find("trading.portfolio_balancer"), session)
        assert session.scalar(select(func.count()).select_from(Reservation)) == 0


@pytest.mark.usefixtures("sqlite_store")
def test_held_weights_are_compared_with_risk_parity() -> None:
    component: Any = registry.find("trading.portfolio_balancer")
    with transaction() as session:
        for n, quantity in enumerate((1.0, 1.0, 50.0)):
            symbol = ("BTCUSDT", "ETHUSDT", "SOLUSDT")[n]
            session.add(held_of(symbol, quantity))
        session.flush()
        seen = component.run(session, utcnow()).observed
    assert seen["overweight"] == ["SOLUSDT"]
    assert portfolio_balancer.OVERWEIGHT > 1

"""Thresholds that no test of a single subsystem holds yet, each from both sides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import checks
from homeostat.store.database import transaction
from homeostat.store.trading import CANARY, PAPER, ModelOutcome, Reservation
from homeostat.trading import health
from homeostat.trading.flow import hooks
from homeostat.trading.health import Level
from homeostat.trading.portfolio_balancer import Moves
from homeostat.trading.profit_amplification import Move, Volatility, propose
from tests.component.trading.test_positions import pal_sight, position


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("outcomes", "r", "winning"), [(20, 0.1, True), (19, 0.1, False), (20, 0.0, False)]
)
def test_aggressive_needs_twenty_outcomes_of_a_day_that_gained(
    outcomes: int,
    r: float,
    winning: bool,  # noqa: FBT001  # a case of the table above
) -> None:
    coordinator: Any = registry.find("trading.ai_hfos")
    with transaction() as session:
        outcomes_of(session, "ewma", outcomes, r=r)
        assert coordinator.facts(session).winning is winning


def outcomes_of(
    session: Session, model: str, count: int, *, ago: timedelta = timedelta(0), r: float = 1.0
) -> None:
    for number in range(count):
        session.add(
            ModelOutcome(
                decision_id=f"{model}{number}",
                model=model,
                symbol="A",
                side=1,
                confidence=0.7,
                won=r > 0,
                r=r,
                at=utcnow() - ago,
            )
        )
    session.flush()


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("model", "ago", "winning"),
    [
        ("ewma", timedelta(hours=23, minutes=59), True),
        ("ewma", timedelta(hours=24, seconds=1), False),
        (CANARY, timedelta(0), False),
    ],
)
def test_only_the_days_own_trades_let_more_be_dared(
    model: str,
    ago: timedelta,
    winning: bool,  # noqa: FBT001  # a case of the table above
) -> None:
    """The canary wins by its making, every ten seconds of a stress run."""
    coordinator: Any = registry.find("trading.ai_hfos")
    with transaction() as session:
        outcomes_of(session, model, 20, ago=ago)
        assert coordinator.facts(session).winning is winning


@pytest.mark.usefixtures("sqlite_store")
def test_the_canarys_signals_keep_no_silent_model_healthy() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    with transaction() as session:
        ground = health.Ground(settings(), session, utcnow())
        supervisor.observe(session, hooks.MODEL, 1, 0, {})
        assert health.ai_model(ground).level is Level.UNKNOWN
        record = supervisor.observe(session, "ewma", 1, 0, {})
        assert health.ai_model(ground).level is Level.HEALTHY
        record.updated_at = ground.now - timedelta(seconds=181)
        session.flush()
        assert health.ai_model(ground).level is Level.DEGRADED


@pytest.mark.parametrize(("correlation", "found"), [(0.71, [0, 0]), (0.69, [0, 1])])
def test_a_cluster_begins_at_a_correlation_of_seven_tenths(
    correlation: float, found: list[int]
) -> None:
    draw = np.random.default_rng(5).standard_normal((2, 300))
    draw -= draw.mean(axis=1, keepdims=True)
    first = draw[0] / np.linalg.norm(draw[0])
    other = draw[1] - (draw[1] @ first) * first
    other /= np.linalg.norm(other)
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    moves = Moves(["A", "B"], lambda: np.stack([first, second]))
    assert [moves.cluster_of(symbol, -1) for symbol in "AB"] == found


@pytest.mark.parametrize(
    ("trend", "move"),
    [(0.621, Move.ADD), (0.619, Move.EXTEND), (0.021, Move.EXTEND), (0.019, Move.NONE)],
)
def test_an_add_takes_sixty_points_and_an_extension_forty_five(trend: float, move: Move) -> None:
    at = pal_sight(trend=trend, rank=50.0, volatility=Volatility.NORMAL)
    assert propose(position(), 103.0, at, "NORMAL").move is move


@pytest.mark.parametrize(("r", "score", "move"), [(5.0, 60.0, Move.ADD), (2.5, 45.0, Move.EXTEND)])
def test_the_very_number_of_points_is_enough(r: float, score: float, move: Move) -> None:
    at = pal_sight(r=r, trend=0.0, rank=100.0, volatility=Volatility.LOW)
    found = propose(position(), 100.0 + 2.0 * r, at, "NORMAL")
    assert (found.score, found.move) == (score, move)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("risk", "level"), [(1_649.0, Level.HEALTHY), (1_651.0, Level.CRITICAL)])
def test_risk_a_hair_beyond_its_limit_is_critical(risk: float, level: Level) -> None:
    with transaction() as session:
        lease = checks.lease_of(session, "kernels.governance")
        lease.expires_at, lease.probe_passed = utcnow().replace(year=2999), True
        session.add(
            Reservation(
                decision_id="d",
                book=PAPER,
                symbol="A",
                side=1,
                cluster=0,
                risk=risk,
                margin=1.0,
                notional=1.0,
            )
        )
        session.flush()
        ground = health.Ground(settings(), session, utcnow())
        assert health.risk_guard(ground).level is level

"""Thresholds that no test of a single subsystem holds yet, each from both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import checks
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER, ModelOutcome, Reservation
from homeostat.trading import health
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
        for number in range(outcomes):
            session.add(
                ModelOutcome(
                    decision_id=f"d{number}",
                    model="ewma",
                    symbol="A",
                    side=1,
                    confidence=0.7,
                    won=r > 0,
                    r=r,
                    at=utcnow(),
                )
            )
        session.flush()
        assert coordinator.facts(session).winning is winning


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

"""A one-sided model loses that side for as long as it is one-sided, and no longer."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store.database import transaction
from homeostat.store.trading import ModelOutcome, ModelRecord
from homeostat.trading.model_supervisor import Outcome
from homeostat.trading.model_supervisor.rules import BIAS_SHARE, FORGET, rank_of

#: After a long one-sided past, balanced ticks until the share of that side is down to the bound:
#: 0.5 + 0.5 · FORGET^n = BIAS_SHARE.
BALANCED = math.log((BIAS_SHARE - 0.5) / 0.5) / math.log(FORGET)
LONG_AGO = 1_440


def supervisor() -> Any:
    return registry.find("trading.model_supervisor")


def test_half_of_a_models_signals_are_an_hour_and_nine_minutes_old() -> None:
    assert FORGET**68 > 0.5 > FORGET**69


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("ticks", "side"), [(math.floor(BALANCED) - 1, 1), (math.ceil(BALANCED) + 1, 0)]
)
def test_a_bias_that_has_mended_blocks_no_longer_than_it_takes_to_fade(
    ticks: int, side: int
) -> None:
    with transaction() as session:
        supervisor().observe(session, "m", 0, 0, {})
        for _ in range(LONG_AGO):
            supervisor().count(session, "m", 10, 0, {})
        supervisor().run(session, utcnow())
        assert supervisor().blocked(session, "m") == 1
        for _ in range(ticks):
            supervisor().count(session, "m", 5, 5, {})
        session.expire_all()
        supervisor().run(session, utcnow())
        assert supervisor().blocked(session, "m") == side
        # What all of its life came to is kept as well.
        record = session.get_one(ModelRecord, "m")
        assert (record.longs, record.shorts) == (10 * LONG_AGO + 5 * ticks, 5 * ticks)


@pytest.mark.usefixtures("sqlite_store")
def test_a_model_that_turns_one_sided_is_blocked_though_its_life_was_fair() -> None:
    with transaction() as session:
        supervisor().observe(session, "m", 100_000, 100_000, {})
        record = session.get_one(ModelRecord, "m")
        record.recent_longs = record.recent_shorts = 500.0
        for _ in range(100):
            supervisor().observe(session, "m", 10, 0, {})
        supervisor().run(session, utcnow())
        assert record.longs / (record.longs + record.shorts) < 0.51
        assert supervisor().blocked(session, "m") == 1


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("shorts", "side"), [(20, -1), (19, 0)])
def test_counts_in_one_statement_and_by_the_row_are_the_same(shorts: int, side: int) -> None:
    """Without abstentions one statement counts; with them the row is read and written."""
    with transaction() as session:
        supervisor().observe(session, "row", 0, 0, {})
        supervisor().observe(session, "statement", 0, 0, {})
        for n in range(3):
            supervisor().observe(session, "row", 3 * n, n, {"STALE": 1})
            supervisor().count(session, "statement", 3 * n, n, {})
        session.expire_all()
        row, statement = (session.get_one(ModelRecord, name) for name in ("row", "statement"))
        for name in ("longs", "shorts", "recent_longs", "recent_shorts"):
            assert getattr(row, name) == pytest.approx(getattr(statement, name))
        supervisor().observe(session, "few", 0, shorts, {})
        supervisor().run(session, utcnow())
        assert supervisor().blocked(session, "few") == side


@pytest.mark.usefixtures("sqlite_store")
def test_abstentions_are_summed_by_their_reason() -> None:
    with transaction() as session:
        supervisor().observe(session, "m", 0, 0, {"STALE": 2, "GAPPED": 1})
        supervisor().observe(session, "m", 0, 0, {"STALE": 3})
        assert session.get_one(ModelRecord, "m").abstained == {"STALE": 5, "GAPPED": 1}


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("older", "brier"), [(0, 0.01), (1, 0.01)])
def test_a_model_is_judged_by_its_last_five_hundred_outcomes(older: int, brier: float) -> None:
    """The one before them was as wrong as can be: 0.81 in 501 would be seen."""
    now = utcnow()
    with transaction() as session:
        record = supervisor().observe(session, "m", 0, 0, {})
        rows = [
            ModelOutcome(
                decision_id=f"d{number:04}",
                model="m",
                symbol="A",
                side=1,
                confidence=0.9,
                won=number >= older,
                r=1.0 if number >= older else -1.0,
                at=now - timedelta(seconds=600 - number),
            )
            for number in range(500 + older)
        ]
        session.add_all(rows)
        record.outcomes, record.wins, record.sum_r = len(rows), 500, 500.0
        session.flush()
        supervisor().judge(session, record)
        assert record.brier == pytest.approx(brier, abs=1e-9)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("wins", "profit", "loss", "factor"), [(6, 6.0, 4.0, 1.5), (10, 10.0, 0.0, 10.0)]
)
def test_a_rank_is_made_of_the_records_means(
    wins: int, profit: float, loss: float, factor: float
) -> None:
    with transaction() as session:
        for number in range(10):
            r = 1.0 if number < wins else -1.0
            assert supervisor().learn(session, Outcome(f"d{number}", "m", "A", 1, 0.6, r))
        record = session.get_one(ModelRecord, "m")
        supervisor().judge(session, record)
        assert (record.gross_profit, record.gross_loss) == (profit, loss)
        assert record.calibration_error is not None
        means = (wins / 10, (profit - loss) / 10, record.calibration_error, factor)
        assert record.rank == pytest.approx(rank_of(*means))


@pytest.mark.usefixtures("sqlite_store")
def test_a_trade_that_came_out_even_was_not_won() -> None:
    with transaction() as session:
        assert supervisor().learn(session, Outcome("d", "m", "A", 1, 0.6, 0.0))
        assert session.get_one(ModelRecord, "m").wins == 0
        assert not session.get_one(ModelOutcome, "d").won


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(("shifted", "health"), [(["skew"], "DEGRADED"), ([], "HEALTHY")])
def test_features_of_another_population_are_a_drift(shifted: list[str], health: str) -> None:
    """Twelve of twenty were won at a confidence of 0.6: nothing else speaks against the model."""
    with transaction() as session:
        for number in range(20):
            r = 1.0 if number % 5 < 3 else -1.0
            assert supervisor().learn(session, Outcome(f"d{number}", "m", "A", 1, 0.6, r))
        record = session.get_one(ModelRecord, "m")
        record.drift = {"shifted": shifted}
        supervisor().judge(session, record)
        assert record.health == health

"""A one-sided model loses that side for as long as it is one-sided, and no longer."""

from __future__ import annotations

import math
from typing import Any

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store.database import transaction
from homeostat.store.trading import ModelRecord
from homeostat.trading.model_supervisor.rules import BIAS_SHARE, FORGET

#: After a long one-sided past, balanced ticks until the share of that side is down to the bound:
#: 0.5 + 0.5 · FORGET^n = BIAS_SHARE.
BALANCED = math.log((BIAS_SHARE - 0.5) / 0.5) / math.log(FORGET)
LONG_AGO = 1_440


def supervisor() -> Any:
    return registry.find("trading.model_supervisor")


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

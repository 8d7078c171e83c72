"""Series that no model can be asked about: each its typed reason, and never the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.store.trading import Decision
from homeostat.trading import signals
from homeostat.trading.market import port
from homeostat.trading.market.injectors import FaultKind, MarketFault
from homeostat.trading.market.panel import Panel
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS, NEED_BARS
from tasks import trade

SYMBOLS, BARS, UNFIT = 222, 240, 40
BEGIN = 60 * 29_000_000
Spoil = Callable[[Panel, int], None]
_PRICES = ("open", "high", "low", "close")


def panel(bars: int = BARS) -> Panel:
    draw = np.random.default_rng(6)
    close = 100 * np.exp(np.cumsum(draw.normal(0, 1e-3, (SYMBOLS, bars)), axis=1))
    times = BEGIN + 60 * np.arange(bars, dtype=np.int64)
    names = tuple(f"S{number}" for number in range(SYMBOLS))
    volume = draw.uniform(1, 2, close.shape)
    return Panel(names, times, close.copy(), close * 1.001, close * 0.999, close, volume)


def moment(found: Panel, later: float = 60.0) -> datetime:
    return port.moment_of(int(found.times[-1])) + timedelta(seconds=later)


def blank(found: Panel, row: int, columns: slice) -> None:
    for name in _PRICES:
        getattr(found, name)[row, columns] = np.nan


def short(found: Panel, row: int) -> None:
    blank(found, row, slice(0, BARS - NEED_BARS + 1))


def stalled(found: Panel, row: int) -> None:
    blank(found, row, slice(-1, None))


def gapped(found: Panel, row: int) -> None:
    blank(found, row, slice(-20, -19))


def constant(found: Panel, row: int) -> None:
    for name in _PRICES:
        getattr(found, name)[row] = 100.0


def nowhere(found: Panel, row: int) -> None:
    blank(found, row, slice(None))


def nan_low(found: Panel, row: int) -> None:
    found.low[row, -3] = np.nan


def infinite(found: Panel, row: int) -> None:
    found.close[row, -7] = np.inf


def zero_price(found: Panel, row: int) -> None:
    found.low[row, -7] = found.close[row, -7] = 0.0


def negative(found: Panel, row: int) -> None:
    found.low[row, -7] = found.close[row, -7] = -1.0


def crossed(found: Panel, row: int) -> None:
    found.high[row, -7] = found.low[row, -7] * 0.99


def untraded(found: Panel, row: int) -> None:
    found.volume[row, -INPUT_BARS:] = 0.0


CASES: list[tuple[Spoil, str]] = [
    (short, "TOO_SHORT"),
    (stalled, "STALE"),
    (gapped, "GAPPED"),
    (constant, "CONSTANT"),
    (nowhere, "STALE"),
    (nan_low, "GAPPED"),
    (infinite, "GAPPED"),
    (zero_price, "GAPPED"),
    (negative, "GAPPED"),
    (crossed, "GAPPED"),
    (untraded, "NO_VOLUME"),
]


@pytest.mark.parametrize(("spoil", "reason"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_forty_of_222_get_their_reason_and_the_others_their_signal(
    spoil: Spoil, reason: str
) -> None:
    found = panel()
    for row in range(0, 5 * UNFIT, 5):
        spoil(found, row)
    told = signals.signals(found, moment(found))
    assert told.digest() == {reason: UNFIT}
    unfit = np.array([bool(one) for one in told.abstained])
    assert np.flatnonzero(unfit).tolist() == list(range(0, 5 * UNFIT, 5))
    assert (told.side[unfit] == 0).all()
    assert (told.confidence[unfit] == 0).all()
    fit = signals.signals(panel(), moment(found))
    assert (told.side[~unfit] == fit.side[~unfit]).all()
    assert (told.confidence[~unfit] == fit.confidence[~unfit]).all()


def test_all_kinds_in_one_batch_are_one_digest() -> None:
    found = panel()
    for row, (spoil, _) in enumerate(CASES):
        spoil(found, row)
    told = signals.signals(found, moment(found))
    assert told.abstained[: len(CASES)] == tuple(reason for _, reason in CASES)
    assert set(told.abstained[len(CASES) :]) == {""}
    assert sum(told.digest().values()) == len(CASES)


def swapped(times: np.ndarray) -> None:
    times[[5, 6]] = times[[6, 5]]


def doubled(times: np.ndarray) -> None:
    times[6] = times[5]


def skipped(times: np.ndarray) -> None:
    times[:100] -= 60


def ahead(times: np.ndarray) -> None:
    times += 600


@pytest.mark.parametrize("spoil", [swapped, doubled, skipped, ahead], ids=lambda one: one.__name__)
def test_minutes_out_of_order_are_nobodys_signal(spoil: Callable[[np.ndarray], None]) -> None:
    found = panel()
    at = moment(found)
    spoil(found.times)
    assert signals.signals(found, at).digest() == {"DISORDERED": SYMBOLS}


def test_a_panel_that_is_too_short_for_anybody_is_said_of_each() -> None:
    assert NEED_BARS == INPUT_BARS + HORIZON_BARS == 108
    found = panel(NEED_BARS - 1)
    assert signals.signals(found, moment(found)).digest() == {"TOO_SHORT": SYMBOLS}
    enough = panel(NEED_BARS)
    assert signals.signals(enough, moment(enough)).digest() == {}


@pytest.mark.parametrize(("later", "reason"), [(60.0, ""), (210.0, ""), (211.0, "STALE")])
def test_bars_are_fresh_for_two_bars_and_a_half(later: float, reason: str) -> None:
    found = panel()
    assert set(signals.signals(found, moment(found, later)).abstained) == {reason}


@pytest.mark.parametrize(
    ("back", "reason"), [(NEED_BARS, "GAPPED"), (NEED_BARS + 1, ""), (2, "GAPPED"), (1, "STALE")]
)
def test_a_hole_counts_within_what_a_model_reads_and_looks_ahead(back: int, reason: str) -> None:
    found = panel()
    blank(found, 3, slice(BARS - back, BARS - back + 1))
    assert signals.signals(found, moment(found)).abstained[3] == reason


@pytest.mark.parametrize(("bars", "reason"), [(NEED_BARS, ""), (NEED_BARS - 1, "TOO_SHORT")])
def test_a_series_that_has_begun_needs_input_and_horizon(bars: int, reason: str) -> None:
    found = panel()
    blank(found, 3, slice(0, BARS - bars))
    assert signals.signals(found, moment(found)).abstained[3] == reason


@pytest.mark.parametrize(("still", "reason"), [(INPUT_BARS, "CONSTANT"), (INPUT_BARS - 1, "")])
def test_prices_are_constant_that_stand_still_in_all_that_a_model_reads(
    still: int, reason: str
) -> None:
    found = panel()
    for name in _PRICES:
        getattr(found, name)[3, -still:] = 100.0
    assert signals.signals(found, moment(found)).abstained[3] == reason


@pytest.mark.parametrize(("without", "reason"), [(INPUT_BARS, "NO_VOLUME"), (INPUT_BARS - 1, "")])
def test_a_symbol_is_untraded_that_had_no_volume_in_all_that_a_model_reads(
    without: int, reason: str
) -> None:
    found = panel()
    found.volume[3, -without:] = 0.0
    assert signals.signals(found, moment(found)).abstained[3] == reason


def test_an_input_without_any_volume_is_no_reason() -> None:
    found = panel()
    found.volume[:] = 0.0
    assert signals.signals(found, moment(found)).digest() == {}
    found.volume[:] = np.nan
    assert signals.signals(found, moment(found)).digest() == {}


@pytest.mark.usefixtures("sqlite_store")
def test_a_tick_with_forty_unfit_symbols_decides_on_all_and_logs_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    due = utcnow()
    market = port.market(settings())
    now = int(due.timestamp())
    names = market.strip.symbols
    # The gap ends before the newest bar; the flat line is as long as what a model reads.
    faults = (
        (FaultKind.GAP, names[:12], 1_200, 10),
        (FaultKind.DELISTING, names[12:26], 600, 1),
        (FaultKind.FLATLINE, names[26:40], 6_000, 120),
    )
    market.inject(
        *(
            MarketFault(kind=kind, since=now - ago, symbols=of, bars=bars)
            for kind, of, ago, bars in faults
        )
    )
    told = trade.cycle.run(due_at=due.isoformat())
    assert told["decisions"] == SYMBOLS
    lines = [one.getMessage() for one in caplog.records if one.name == "tasks.trade"]
    assert lines == ["40 of 222 symbols abstained: 14 CONSTANT, 12 GAPPED, 14 STALE"]
    with transaction() as session:
        rules = session.scalars(select(Decision.rule)).all()
    assert sum(rule.startswith("ABSTAIN_") for rule in rules) <= UNFIT
    assert len(rules) == SYMBOLS


def test_whoever_names_no_need_is_held_to_input_and_horizon() -> None:
    found = panel()
    blank(found, 3, slice(BARS - NEED_BARS, BARS - NEED_BARS + 1))
    assert signals.part(found, moment(found))[3] == "GAPPED"
    assert signals.part(found, moment(found), NEED_BARS - 1)[3] == ""


def test_a_side_is_long_where_a_rise_is_likelier_than_not() -> None:
    found, model = panel(), signals.EwmaModel()
    rise, told = model.rise(found), signals.signals(found, moment(found), model)
    assert set(told.side[rise > 0.5]) == {1}
    assert set(told.side[rise < 0.5]) == {-1}
    assert (told.confidence == np.maximum(rise, 1 - rise)).all()
    climbing = panel()
    for name in _PRICES:
        getattr(climbing, name)[0] = 100 * np.exp(0.0001 * np.arange(BARS) ** 1.1)
    assert signals.signals(climbing, moment(climbing), model).side[0] == 1


def test_a_series_of_few_bars_is_short_however_long_ago_it_began() -> None:
    found = panel()
    blank(found, 3, slice(1, BARS - 100))
    assert signals.signals(found, moment(found)).abstained[3] == "TOO_SHORT"

"""A backtest: the live flow over recorded candles, in a store of its own.

Signals, gates, barriers, reservations, the paper venue's orders, trailing stops, position
intelligence and profit amplification are the live ones. What is assumed instead of asked: a
directive in mode NORMAL, a safety policy that allows, and a governance that says yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.errors import MarketDataError
from homeostat.store import trading as store
from homeostat.store.base import Base
from homeostat.store.trading import Directive
from homeostat.trading.backtest.driver import BOOK, EVER, MOST_POSITIONS, WINDOW, Driver
from homeostat.trading.backtest.result import Result
from homeostat.trading.backtest.stretches import Stretches
from homeostat.trading.dynamic_tpsl import Policy, tiered_arrays
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market import candles
from homeostat.trading.market.candles import Recording
from homeostat.trading.market.panel import Instrument
from homeostat.trading.signals import Agent, EwmaModel

__all__ = ["MOST_POSITIONS", "WINDOW", "Progress", "backtest"]

#: Told how many minutes of the recording have passed, of how many, and the trades so far.
Progress = Callable[[int, int, int], None]


def backtest(
    data: Path | Recording,
    *,
    policy: Policy = Policy.VOLATILITY,
    floor: float = 0.65,
    model: Agent | None = None,
    universe: bool | None = None,
    progress: Progress = lambda _passed, _of, _trades: None,
) -> Result:
    """Trade everything recorded below `data` out of one book; raises MarketDataError.

    `floor` is the least confidence. `universe` says whether symbols are filtered; unless said,
    they are where there are several: one series that was named leaves nothing to choose.
    """
    recording = candles.read_path(data) if isinstance(data, Path) else data
    series = recording.series
    filtered = len(series) > 1 if universe is None else universe
    stretches = Stretches(series)
    told = _Told(progress, sum(span.minutes for span in stretches.spans))
    with _own_store() as session:
        driver = Driver(
            session,
            Parties(session, _find(policy), careful=False),
            _directive(floor),
            model or EwmaModel(),
            {one.symbol: Instrument(one.symbol, base=one.symbol) for one in series},
            filtered,
            stretches.goes_on,
            tell=lambda minutes: told.more(minutes, driver.trades),
        )
        for span in stretches.spans:
            if span.minutes > WINDOW or driver.holds:
                driver.trade(stretches.panel(span))
            else:
                driver.tell(span.minutes)
        if not driver.minutes:
            raise MarketDataError(
                f"{recording.path} holds no {WINDOW + 1} minutes without an hour's silence "
                "between them; name a longer recording."
            )
        book = store.book_of(session, BOOK)
        return Result(
            policy.value,
            driver.trades,
            bars=sum(len(one) for one in series),
            series=len(series),
            minutes=driver.minutes,
            blocks=driver.blocks,
            excluded=driver.excluded,
            passed_over=recording.passed_over,
            equity=book.equity,
            drawdown=driver.drawdown,
        )


class _Told:
    """What has passed so far."""

    def __init__(self, progress: Progress, whole: int) -> None:
        self._progress, self._whole, self._passed = progress, whole, 0
        progress(0, whole, 0)

    def more(self, minutes: int, trades: Sequence[object]) -> None:
        self._passed += minutes
        self._progress(self._passed, self._whole, len(trades))


@contextmanager
def _own_store() -> Iterator[Session]:
    """Give a store in memory, so that no backtest touches what the live flow has written."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
        session.rollback()
    engine.dispose()


def _directive(floor: float) -> Directive:
    return Directive(
        version=0,
        issued_at=datetime.min.replace(tzinfo=UTC),
        expires_at=EVER,
        mode="NORMAL",
        health="HEALTHY",
        allow_new_trades=True,
        reduce_global_risk=False,
        scale_position_sizes=1.0,
        min_confidence=floor,
        max_positions=MOST_POSITIONS,
        max_leverage=20.0,
        max_concentration=0.30,
        reasons={},
    )


def _find(policy: Policy) -> Callable[[str], Any]:
    """Return how the flow finds its parties: the live ones, but for what is assumed."""
    assumed: dict[str, Any] = {
        "kernels.governance": SimpleNamespace(
            decide=lambda *_args, **_kwargs: SimpleNamespace(allowed=True)
        )
    }
    if policy is Policy.TIERED:
        assumed["trading.dynamic_tpsl"] = SimpleNamespace(
            barriers=lambda confidence, volatility: tiered_arrays(confidence, None, volatility)
        )
    return lambda name: assumed.get(name) or registry.find(name)

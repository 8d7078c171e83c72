"""Decisions per CPU second through the journaled flow, beside the same rules as a plain loop; and
barriers per CPU second, array beside scalar. `python -m benchmarks.trading --json`.

The flow runs on SQLite in WAL mode with a commit per cycle of 222 symbols, all gates open, in
one process. CPU seconds are those of the process, user and system.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

# One thread: the threads of a linear algebra library wait for each other by burning CPU seconds.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  # it reads the number of threads at import

WARM_UP = 3
#: Minutes on which statements are counted.
COUNTED = 50


def cpu_of(work: Callable[[], int]) -> tuple[int, float]:
    """Return (units done, CPU seconds) of `work`."""
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def permit(session: Any, at: datetime) -> None:
    """Give the leave to trade for the whole benchmark, so that every gate is passed through."""
    from homeostat.store.trading import Directive, SafetyPolicy

    until = at + timedelta(days=30)
    session.add(
        Directive(
            version=1,
            issued_at=at,
            expires_at=until,
            mode="NORMAL",
            health="HEALTHY",
            allow_new_trades=True,
            reduce_global_risk=False,
            scale_position_sizes=1.0,
            min_confidence=0.65,
            max_positions=8,
            max_leverage=20.0,
            max_concentration=0.3,
            reasons={},
        )
    )
    session.add(
        SafetyPolicy(
            at=at,
            expires_at=until,
            policy="ALLOW_ALL",
            overall="healthy",
            targets={},
            actions=[],
        )
    )


def flow_figures(cycles: int) -> dict[str, Any]:
    """Run the real flow for that many minutes, each cycle read, decided, journaled, committed."""
    from sqlalchemy import func, select

    from homeostat import registry
    from homeostat.clock import utcnow
    from homeostat.store import database, trading
    from tasks import trade

    database.migrate()
    begin = utcnow()
    with database.transaction() as session:
        permit(session, begin)
        registry.find("trading.universe_os").run(session, begin)
        newest = trading.latest_universe(session)
        if newest is not None:
            newest.expires_at = begin + timedelta(days=30)

    def run(first: int, count: int) -> int:
        decided = 0
        for minute in range(first, first + count):
            # The very task of the timetable, called as a worker's child calls it.
            done = trade.cycle(due_at=(begin + timedelta(minutes=minute)).isoformat())
            decided += done["decisions"] if done else 0
        return decided

    run(0, WARM_UP)
    decided, seconds = cpu_of(lambda: run(WARM_UP, cycles))
    with database.reading() as session:
        rows = session.scalar(select(func.count()).select_from(trading.Decision))
        opened = session.scalar(select(func.count()).select_from(trading.Position))
    # Counting costs, so it is done on minutes of its own, after those that are measured.
    with counted_statements(database.engine()) as sent:
        run(WARM_UP + cycles, COUNTED)
    return {
        "cycles": cycles,
        "decisions": decided,
        "rows_in_journal": rows,
        "positions_opened": opened,
        "cpu_s": round(seconds, 3),
        "decisions_per_cpu_s": round(decided / seconds),
        "statements_per_cycle": round(len(sent) / COUNTED, 1),
    }


@contextmanager
def counted_statements(engine: Any) -> Iterator[list[str]]:
    """Give a list that every statement is noted in that SQLite runs, each row of several alike."""
    from sqlalchemy import event

    sent: list[str] = []

    def trace(connection: Any, *_more: Any) -> None:
        connection.set_trace_callback(sent.append)

    event.listen(engine, "checkout", trace)
    yield sent
    event.remove(engine, "checkout", trace)


def loop_figures(cycles: int) -> dict[str, Any]:
    """The rules of signal, floor and barriers symbol by symbol, in Python, with no journal."""
    from homeostat.clock import utcnow
    from homeostat.settings import settings
    from homeostat.trading.dynamic_tpsl import volatility_scaled
    from homeostat.trading.market import port
    from homeostat.trading.signals import INPUT_BARS, EwmaModel

    panel = port.market(settings()).panel(utcnow(), 240)
    closes = panel.close.tolist()
    highs, lows = panel.high.tolist(), panel.low.tolist()
    model = EwmaModel()
    ages = range(INPUT_BARS - 1, -1, -1)
    fast, slow = ([0.5 ** (age / span) for age in ages] for span in (model.fast, model.slow))

    def decide(row: int) -> str:
        price = [math.log(value) for value in closes[row][-INPUT_BARS:]]
        means = [
            sum(p * w for p, w in zip(price, ws, strict=True)) / sum(ws) for ws in (fast, slow)
        ]
        steps = [b - a for a, b in pairwise(price)]
        middle = sum(steps) / len(steps)
        deviation = math.sqrt(sum((step - middle) ** 2 for step in steps) / len(steps))
        score = (means[0] - means[1]) / max(deviation, 1e-12)
        confidence = 1 / (1 + math.exp(-model.slope * abs(score)))
        if confidence < 0.65:
            return "CONFIDENCE_FLOOR"
        reach = [h - low for h, low in zip(highs[row][-14:], lows[row][-14:], strict=True)]
        atr = sum(reach) / 14 / closes[row][-1]
        return "OPENED" if volatility_scaled(confidence, atr).stop_loss else "NO_BARRIER"

    def run() -> int:
        return sum(bool(decide(row)) for _ in range(cycles) for row in range(len(closes)))

    decided, seconds = cpu_of(run)
    return {"decisions": decided, "decisions_per_cpu_s": round(decided / seconds)}


def barrier_figures(repeats: int) -> dict[str, Any]:
    """Both forms of both policies on the same numbers, 222 symbols a call."""
    from homeostat.trading import dynamic_tpsl as tpsl

    draw = np.random.default_rng(1)
    confidence, volatility = draw.uniform(0, 1, 222), draw.uniform(0.001, 0.05, 222)
    pairs = list(zip(confidence.tolist(), volatility.tolist(), strict=True))

    def arrays(form: Callable[[], object]) -> int:
        for _ in range(repeats):
            form()
        return 222 * repeats

    def singly(form: Callable[[float, float], object]) -> int:
        for _ in range(max(1, repeats // 20)):
            for one, other in pairs:
                form(one, other)
        return 222 * max(1, repeats // 20)

    work: dict[str, Callable[[], int]] = {
        "tiered_array": lambda: arrays(
            lambda: tpsl.tiered_arrays(confidence, volatility=volatility)
        ),
        "tiered_scalar": lambda: singly(lambda c, v: tpsl.tiered(c, volatility=v)),
        "volatility_array": lambda: arrays(
            lambda: tpsl.volatility_scaled_arrays(confidence, volatility)
        ),
        "volatility_scalar": lambda: singly(tpsl.volatility_scaled),
    }
    found = {}
    for name, one in work.items():
        done, seconds = cpu_of(one)
        found[f"{name}_per_cpu_s"] = round(done / seconds)
    return found


def universe_figures(repeats: int) -> dict[str, Any]:
    """Wall seconds of one filter run over all symbols of the market; at most 1 is wanted."""
    from homeostat.clock import utcnow
    from homeostat.settings import settings
    from homeostat.trading.market import port
    from homeostat.trading.universe_os import LIMITS, Profile, filter_symbols

    market = port.market(settings())
    panel = market.panel(utcnow(), 240)
    slowest = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        filter_symbols(market.instruments, panel, LIMITS[Profile.AGGRESSIVE])
        slowest = max(slowest, time.perf_counter() - start)
    return {"symbols": len(panel.symbols), "slowest_wall_s": round(slowest, 4)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=200, help="minutes of 222 decisions")
    parser.add_argument("--repeats", type=int, default=5_000, help="barrier calls of 222 symbols")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trading-") as folder:
        for name in [name for name in os.environ if name.startswith("HOMEOSTAT_")]:
            del os.environ[name]
        os.environ["HOMEOSTAT_STATE_DIR"] = folder
        report = {
            "flow": flow_figures(asked.cycles),
            "plain_loop": loop_figures(max(1, asked.cycles // 10)),
            "barriers": barrier_figures(asked.repeats),
            "universe": universe_figures(20),
        }
    if asked.json:
        print(json.dumps(report, indent=2))
        return
    for group, figures in report.items():
        for name, value in figures.items():
            print(f"{group:11} {name:30} {value}")


if __name__ == "__main__":
    main()

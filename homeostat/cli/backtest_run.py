"""A backtest at the command line: how far it has come on standard error, and Ctrl-C in words."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from homeostat.errors import HomeostatError
from homeostat.trading.backtest import backtest
from homeostat.trading.dynamic_tpsl import Policy
from homeostat.trading.market import candles

#: Seconds from one line to the next: at a terminal, where it is overwritten, and in a file.
_AT_TERMINAL_S, _IN_FILE_S = 0.5, 30.0


class BacktestStoppedError(HomeostatError):
    """A backtest was stopped by Ctrl-C before its end; a part of it is no result."""

    exit_code = 130


def run_backtest(
    data: Path, policies: Sequence[Policy], *, floor: float, universe: bool | None
) -> list[dict[str, JsonValue]]:
    """Return one result for each policy; raises MarketDataError, and BacktestStoppedError."""
    shown = _Shown()
    try:
        recording = candles.read_path(data)
        return [
            backtest(
                recording, policy=one, floor=floor, universe=universe, progress=shown.passed
            ).as_json()
            for one in policies
        ]
    except KeyboardInterrupt:
        raise BacktestStoppedError(
            f"Stopped{shown.words}; a part of a backtest is no result, and nothing was written."
        ) from None
    finally:
        shown.wipe()


class _Shown:
    """How far the backtest has come, in one line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (_AT_TERMINAL_S if self._terminal else _IN_FILE_S)
        self.words = " while the candles were read"

    def passed(self, minutes: int, of: int, trades: int) -> None:
        """Take in how many minutes have passed, and show it where it is time."""
        self.words = f" after {minutes:,} of {of:,} minutes and {trades:,} trades"
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_AT_TERMINAL_S if self._terminal else _IN_FILE_S)
        begin, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        share = 100 * minutes / max(of, 1)
        print(  # noqa: T201  # the door speaks here
            f"{begin}backtest: {share:.0f} %{self.words}", end=end, file=sys.stderr, flush=True
        )

    def wipe(self) -> None:
        """Take the line away from a terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201  # as above

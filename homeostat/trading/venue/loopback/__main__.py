"""`python -m homeostat.trading.venue.loopback`: serve the loopback venue until it is ended."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from types import FrameType

from homeostat.errors import HomeostatError, SettingsError
from homeostat.settings import settings
from homeostat.trading.venue.loopback.exchange import KEY, SECRET, LoopbackExchange
from homeostat.trading.venue.loopback.faults import read_script
from homeostat.trading.venue.loopback.limits import WEIGHT_LIMIT, WINDOW_S, WeightLimit
from homeostat.trading.venue.loopback.prices import MarketPrices
from homeostat.trading.venue.loopback.server import LoopbackServer


def serve(port: int, limit: WeightLimit, script: Path | None = None) -> None:
    """Serve the market of the settings on this port (0: any) until SIGTERM or SIGINT.

    The first line of the output is the address. Raises SettingsError where the port is taken,
    FaultScriptError where the script is not understood.
    """
    prices = MarketPrices(settings())
    exchange = LoopbackExchange(prices.market.instruments, prices, limit)
    if script is not None:
        exchange.script.put(read_script(script))
    try:
        server = LoopbackServer(exchange, port)
    except OSError as error:
        raise SettingsError(
            f"The loopback venue cannot listen on port {port} ({error.strerror}); "
            "name another with --port, or 0 for any that is free."
        ) from error
    signal.signal(signal.SIGTERM, _stop)
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.write(f"key {KEY}, secret {SECRET}, {len(exchange.account.listing)} symbols\n")
    sys.stdout.flush()
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(0.1)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="homeostat.trading.venue.loopback", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--weight-limit", type=int, default=WEIGHT_LIMIT)
    parser.add_argument("--window", type=int, default=WINDOW_S, help="seconds of the limit")
    parser.add_argument("--faults", type=Path, help="a JSON list of faults to come")
    given = parser.parse_args()
    try:
        serve(given.port, WeightLimit(given.weight_limit, given.window), given.faults)
    except HomeostatError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The loopback venue over HTTP, on 127.0.0.1 and nowhere else.

Besides the venue's own paths there are three for those who test against it: `GET
/loopback/state`, `POST /loopback/faults` (a JSON list of faults to come), `POST
/loopback/prices` (a JSON object of prices, where they are set by hand).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from homeostat.trading.venue.loopback.exchange import Answer, LoopbackExchange, Request
from homeostat.trading.venue.loopback.faults import Fault, FaultKind, FaultScriptError
from homeostat.trading.venue.loopback.prices import SetPrices

HOST = "127.0.0.1"
#: A client that keeps its connection open is let go after this long.
IDLE_S = 60.0


class LoopbackServer(ThreadingHTTPServer):
    """Serves one exchange."""

    daemon_threads = True
    # Connections of many processes come at once.
    request_queue_size = 128

    def __init__(self, exchange: LoopbackExchange, port: int = 0) -> None:
        """Listen on this port of 127.0.0.1, or on any free one."""
        super().__init__((HOST, port), _Handler)
        self.exchange = exchange

    @property
    def url(self) -> str:
        """Where it is to be found."""
        return f"http://{HOST}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    # The answer's head and body are two writes, and the second would wait for the first's echo.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing: the exchange keeps its own log."""

    def do_GET(self) -> None:  # the base class calls it so
        """Answer a GET."""
        self._answer()

    def do_POST(self) -> None:  # as above
        """Answer a POST."""
        self._answer()

    def do_DELETE(self) -> None:  # as above
        """Answer a DELETE."""
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if parts.path.startswith("/loopback/"):
            self._send(self._control(f"{self.command} {parts.path}", body))
            return
        key = self.headers.get("X-MBX-APIKEY", "")
        request = Request(f"{self.command} {parts.path}", body or parts.query, key)
        self._deliver(self.server.exchange.answer(request))

    def _deliver(self, answer: Answer) -> None:
        """Send the answer, or do to it what the fault says."""
        kind = answer.fault.kind if answer.fault is not None else None
        seconds = answer.fault.seconds if answer.fault is not None else 0.0
        if kind in {FaultKind.HANG, FaultKind.LOST_ANSWER, FaultKind.LATE}:
            if kind is FaultKind.HANG:
                time.sleep(seconds)
            self.close_connection = True
        elif kind is FaultKind.DRIP:
            self._send(answer, pause_s=seconds / max(1, len(answer.encoded())))
        else:
            self._send(answer)

    def _send(self, answer: Answer, pause_s: float = 0.0) -> None:
        raw = answer.encoded()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for part in [raw[at : at + 1] for at in range(len(raw))] if pause_s else [raw]:
                self.wfile.write(part)
                time.sleep(pause_s)
        except OSError:
            # The client has had enough of waiting.
            self.close_connection = True

    def _control(self, line: str, body: str) -> Answer:
        exchange = self.server.exchange
        try:
            if line == "POST /loopback/faults":
                exchange.script.put([Fault.of(fields) for fields in json.loads(body)])
            elif line == "POST /loopback/prices" and isinstance(exchange.floor.prices, SetPrices):
                for symbol, price in json.loads(body).items():
                    exchange.floor.prices.put(symbol, float(price))
            elif line != "GET /loopback/state":
                return Answer(404, {"error": f"There is nothing at {line}."})
        except (ValueError, TypeError, AttributeError, FaultScriptError) as error:
            return Answer(400, {"error": str(error)})
        return Answer(200, exchange.state())


@contextmanager
def serving(exchange: LoopbackExchange, port: int = 0) -> Iterator[LoopbackServer]:
    """Serve the exchange in a thread of this process for as long as the block runs."""
    server = LoopbackServer(exchange, port)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

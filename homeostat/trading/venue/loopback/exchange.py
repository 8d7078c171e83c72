"""The loopback venue as a whole: a request comes in, and an answer or a fault goes out."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import RLock, Timer
from typing import Any
from urllib.parse import parse_qsl

from homeostat.trading.market.panel import Instrument
from homeostat.trading.venue.loopback import refusals, wire
from homeostat.trading.venue.loopback.account import Account
from homeostat.trading.venue.loopback.endpoints import ENDPOINTS, Endpoint
from homeostat.trading.venue.loopback.faults import Fault, FaultKind, Script
from homeostat.trading.venue.loopback.floor import Floor
from homeostat.trading.venue.loopback.limits import Closed, WeightLimit
from homeostat.trading.venue.loopback.prices import Prices, listing
from homeostat.trading.venue.loopback.refusals import Refusal, RefusedError

#: The one key pair that the loopback venue takes, as good as any: no money is behind it.
KEY, SECRET = "loopback-key", "loopback-secret"
#: How far ahead of the venue's clock a request may be, in milliseconds.
AHEAD_MS = 1000
USUAL_WINDOW_MS = 5000


@dataclass(frozen=True)
class Answer:
    """What goes out; `fault` says how it goes wrong on the way."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    def encoded(self) -> bytes:
        """Return the body's bytes, as far as the fault leaves them."""
        raw = json.dumps(self.body).encode()
        if self.fault is not None and self.fault.kind is FaultKind.TRUNCATED:
            return raw[: len(raw) // 2]
        return raw


@dataclass(frozen=True)
class Request:
    """One request as it came: "METHOD /path", its query or form text, and its key."""

    line: str
    query: str
    key: str = ""

    @property
    def params(self) -> dict[str, str]:
        """The fields of the query or the form."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class LoopbackExchange:
    """The venue's state, and what it answers."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        prices: Prices,
        limit: WeightLimit | None = None,
    ) -> None:
        """List the instruments at these prices."""
        self.account = Account(listing(instruments, prices))
        self.floor = Floor(self.account, prices)
        self.limit = limit or WeightLimit()
        self.script = Script()
        #: Every request that came in, as "METHOD /path", and its status.
        self.log: list[tuple[str, int]] = []
        self._lock = RLock()

    def answer(self, request: Request) -> Answer:
        """Answer one request; waits nowhere (the server does what a fault says of time)."""
        endpoint = ENDPOINTS.get(request.line)
        weight = endpoint.cost(request.params) if endpoint else 1
        fault = self.script.take(request.line)
        with self._lock:
            closed = self.limit.spend(weight) or self._close(fault)
            if closed is not None:
                found = self._closed(closed, header=fault is None or fault.kind != FaultKind.BANNED)
            elif endpoint is None:
                found = self._refused(refusals.NO_SUCH_PATH)
            else:
                found = self._answered(request, endpoint, fault)
            self.log.append((request.line, found.status))
        used = {"X-MBX-USED-WEIGHT-1M": str(self.limit.used)}
        return Answer(found.status, found.body, {**found.headers, **used}, found.fault)

    def _close(self, fault: Fault | None) -> Closed | None:
        if fault is not None and fault.kind is FaultKind.TOO_MANY:
            return self.limit.close(429, fault.seconds)
        if fault is not None and fault.kind is FaultKind.BANNED:
            return self.limit.close(418, fault.seconds)
        return None

    def _closed(self, closed: Closed, *, header: bool) -> Answer:
        wait = max(0.0, closed.until - time.time())
        if closed.status == 429:
            words = (
                f"Too many requests; current limit is {self.limit.limit} requests per minute. "
                "Please use the websocket for live updates to avoid polling the API."
            )
        else:
            words = (
                f"Way too much request weight used; IP banned until {int(closed.until * 1000)}. "
                "Please use the websocket for live updates to avoid bans."
            )
        headers = {"Retry-After": str(max(1, round(wait)))} if header else {}
        return Answer(closed.status, {"code": -1003, "msg": words}, headers)

    def _refused(self, refusal: Refusal) -> Answer:
        return Answer(refusal.status, {"code": refusal.code, "msg": refusal.message})

    def _answered(self, request: Request, endpoint: Endpoint, fault: Fault | None) -> Answer:
        kind = fault.kind if fault is not None else None
        if fault is not None and kind is FaultKind.REFUSED:
            return self._refused(Refusal(fault.code, fault.message, fault.status))
        if fault is not None and kind in {FaultKind.HANG, FaultKind.LATE}:
            if kind is FaultKind.LATE:
                Timer(fault.seconds, self._do, (request, endpoint)).start()
            return Answer(200, {}, fault=fault)
        unknown = fault is not None and kind in {FaultKind.TIMEOUT_1007, FaultKind.BUSY_503}
        if fault is not None and unknown and not fault.done:
            return self._unknown(fault)
        found = self._do(request, endpoint)
        if fault is None:
            return found
        if unknown:
            return self._unknown(fault)
        return Answer(found.status, self._spoilt(found.body, fault), fault=fault)

    def _unknown(self, fault: Fault) -> Answer:
        if fault.kind is FaultKind.BUSY_503:
            words = "Unknown error, please check your request or try again later."
            return Answer(503, {"code": -1000, "msg": words})
        words = (
            "Timeout waiting for response from backend server. "
            "Send status unknown; execution status unknown."
        )
        return Answer(408, {"code": -1007, "msg": words})

    def _do(self, request: Request, endpoint: Endpoint) -> Answer:
        with self._lock:
            self.account.tick(self.floor.prices.now())
            try:
                if endpoint.signed:
                    _check_signature(request)
                return Answer(200, endpoint.answer(self.floor, request.params))
            except RefusedError as error:
                return self._refused(error.refusal)

    def _spoilt(self, body: Any, fault: Fault) -> Any:
        if fault.kind is FaultKind.SHORT_ROWS:
            return [row[:1] for row in body]
        if fault.kind is FaultKind.STALE:
            return [[row[0] - int(fault.seconds * 1000), *row[1:]] for row in body]
        if fault.kind is FaultKind.DROPPED:
            # Acknowledged, and forgotten.
            self.account.orders = [
                one for one in self.account.orders if one.client_id != body.get("clientAlgoId")
            ]
        return body

    def state(self) -> wire.Json:
        """Return what those who watch want to know."""
        with self._lock:
            return {
                "positions": {
                    symbol: str(held.amount) for symbol, held in self.account.held.items()
                },
                "orders": [
                    wire.algo_order(one) if one.conditional else wire.order(one)
                    for one in self.account.orders
                ],
                "fills": [
                    {name: str(value) for name, value in vars(fill).items()}
                    for fill in self.account.fills
                ],
                "wallet": str(self.account.wallet),
                "used_weight": self.limit.used,
                "knocks": self.limit.knocks,
                "faults": self.script.waiting(),
                "requests": len(self.log),
            }


def _check_signature(request: Request) -> None:
    """Raise RefusedError unless the request is signed, by the right key, and in time."""
    signed, _, signature = request.query.rpartition("&signature=")
    if request.key != KEY:
        raise RefusedError(refusals.BAD_KEY)
    wanted = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, signature):
        raise RefusedError(refusals.BAD_SIGNATURE)
    params = request.params
    if "timestamp" not in params:
        raise RefusedError(refusals.missing("timestamp"))
    sent, now = int(params["timestamp"]), wire.now_ms()
    if sent > now + AHEAD_MS or now - sent > int(params.get("recvWindow", USUAL_WINDOW_MS)):
        raise RefusedError(refusals.LATE)

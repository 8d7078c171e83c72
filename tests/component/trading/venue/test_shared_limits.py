"""What workers share through Redis: the weight, the wait, and the circuit."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import pytest
from redis import Redis

from homeostat.trading.venue.breaker import SharedBreaker
from homeostat.trading.venue.exchange import Exchange
from homeostat.trading.venue.guard import Limits
from homeostat.trading.venue.loopback import FaultKind, WeightLimit
from homeostat.trading.venue.outcomes import AwayError, UnknownOutcomeError, VenueError, WaitError
from homeostat.trading.venue.tickets import Ticket
from homeostat.trading.venue.waits import Waits, asked_until
from homeostat.trading.venue.weight import WeightBucket
from tests.loopback_venue import BTC, Loopback
from tests.venue_workers import Work, pressing
from tests.waiting import wait_until

Connect = Callable[..., Exchange]
#: The venue's limit in small: half the real rate (2,400 a minute), in windows of two seconds.
LIMIT, WINDOW_S = 40, 2
SCALED = {"weight": LIMIT, "window_s": WINDOW_S, "patience_s": 0.1}
KLINES = "GET /fapi/v1/klines"


def name() -> str:
    return f"venue:{secrets.token_hex(6)}"


def candles(exchange: Exchange) -> Work:
    """Ask for candles that weigh 1."""
    return lambda: exchange.candles("BTCUSDT", 98)


def statuses(loopback: Loopback) -> set[int]:
    return {status for _, status in loopback.exchange.log}


def test_four_processes_stay_within_the_weight_of_one_address(
    loopback: Loopback, connected: Connect
) -> None:
    loopback.exchange.limit = limit = WeightLimit(LIMIT, WINDOW_S)
    came = pressing([lambda: candles(connected(**SCALED))] * 4, seconds=3.5)
    assert max(limit.used_in.values()) <= LIMIT
    assert statuses(loopback) == {200}
    # It was the bucket that held them back.
    assert sum(one["WaitError"] for one in came) > 0
    assert sum(one["answered"] for one in came) > 0.9 * LIMIT


def test_four_processes_with_the_limiter_of_ccxt_each_are_refused(loopback: Loopback) -> None:
    def work() -> Work:
        client = loopback.naive(enableRateLimit=True)
        return lambda: client.fetch_ohlcv(BTC, "1m", limit=99)

    loopback.exchange.limit = limit = WeightLimit(LIMIT, WINDOW_S)
    came = pressing([work] * 4, seconds=2.5)
    assert max(limit.used_in.values()) > LIMIT
    assert statuses(loopback) >= {429, 418}
    assert sum(one["DDoSProtection"] for one in came) > 4


def test_four_processes_stop_after_ten_failures_in_all(
    loopback: Loopback, connected: Connect
) -> None:
    loopback.put(FaultKind.BUSY_503, KLINES, times=10_000)
    came = pressing([lambda: candles(connected())] * 4, seconds=1.0)
    failed = sum(one["UnknownOutcomeError"] for one in came)
    # Three more may be under way when the tenth fails.
    assert 10 <= failed <= 13
    assert loopback.requests(KLINES) == failed
    assert sum(one["AwayError"] for one in came) > 0


def test_what_others_behind_the_address_used_is_taken_out_too(redis_url: str) -> None:
    bucket = WeightBucket(redis_url, name(), limit=100, window_s=3600)
    bucket.take(10)
    bucket.heard(10)
    assert bucket.used() == 10
    bucket.heard(60)
    assert bucket.used() == 60
    bucket.heard(30)
    assert bucket.used() == 60
    bucket.heard(5_000)
    assert bucket.used() == 100


def test_the_last_tenth_is_kept_for_exits(redis_url: str) -> None:
    bucket = WeightBucket(redis_url, name(), limit=100, window_s=3600, patience_s=0.0)
    bucket.take(90)
    with pytest.raises(WaitError) as caught:
        bucket.take(1)
    assert caught.value.until == pytest.approx(time.time() + 3600, abs=5)
    assert not caught.value.sent
    bucket.take(10, urgent=True)
    with pytest.raises(WaitError):
        bucket.take(1, urgent=True)


def test_weight_comes_back_as_the_window_slides(redis_url: str) -> None:
    bucket = WeightBucket(redis_url, name(), limit=10, window_s=1, patience_s=5.0)
    for _ in range(3):
        bucket.take(9)
    assert bucket.used() <= 10


def test_the_limits_are_the_venues_and_the_specifications() -> None:
    assert Limits() == Limits(weight=2_400, window_s=60, failures=10, open_s=60, call_s=10.0)


def test_a_published_wait_is_never_shortened(redis_url: str) -> None:
    redis, shared = Redis.from_url(redis_url, decode_responses=True), name()
    now = time.time()
    Waits(redis, shared).publish(now + 60)
    Waits(redis, shared).publish(now + 5)
    assert Waits(redis, shared).until() == pytest.approx(now + 60, abs=0.1)
    Waits(redis, shared).publish(now + 90)
    assert Waits(redis, shared).until() == pytest.approx(now + 90, abs=0.1)
    Waits(redis, name()).publish(now - 1)
    assert Waits(redis, name()).until() == 0.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "seconds"),
    [
        (429, {"Retry-After": "7"}, "", 7.0),
        (418, {"retry-after": "9"}, "", 9.0),
        (418, {}, "IP banned until %d. Please", 30.0),
        (418, {"Retry-After": "3"}, "IP banned until %d.", 30.0),
        (429, {"Retry-After": "soon"}, "no number", 60.0),
    ],
)
def test_the_wait_stands_in_the_header_or_in_the_text(
    status: int, headers: dict[str, str], body: str, seconds: float
) -> None:
    until = asked_until(status, headers, body.replace("%d", str(int(1000 * (time.time() + 30)))))
    assert until == pytest.approx(time.time() + seconds, abs=1.0)
    assert asked_until(400, headers, body) is None


def unknown() -> None:
    raise UnknownOutcomeError


def test_ten_failures_in_a_row_open_the_circuit_for_all(redis_url: str) -> None:
    shared = name()
    one, other = SharedBreaker(redis_url, shared), SharedBreaker(redis_url, shared)
    for _ in range(9):
        with pytest.raises(UnknownOutcomeError):
            one.call(unknown)
    assert other.call(lambda: "answered") == "answered"
    assert one.failures == 0
    for _ in range(10):
        with pytest.raises(UnknownOutcomeError):
            one.call(unknown)
    with pytest.raises(AwayError):
        other.call(lambda: "answered")
    assert other.state == "open"


def test_a_refusal_is_an_answer_and_an_unsent_wait_says_nothing(redis_url: str) -> None:
    breaker = SharedBreaker(redis_url, name(), failures=2)

    def wait() -> None:
        raise WaitError("used up", time.time() + 1)

    with pytest.raises(UnknownOutcomeError):
        breaker.call(unknown)
    with pytest.raises(WaitError):
        breaker.call(wait)
    assert breaker.failures == 1
    with pytest.raises(VenueError):
        breaker.call(lambda: (_ for _ in ()).throw(VenueError("no")))
    assert breaker.failures == 0


def opened(redis_url: str, shared: str) -> SharedBreaker:
    breaker = SharedBreaker(redis_url, shared, failures=1, open_s=1)
    with pytest.raises(UnknownOutcomeError):
        breaker.call(unknown)
    assert breaker.state == "open"
    return breaker


def test_exactly_one_tries_when_the_time_is_up(redis_url: str) -> None:
    shared = name()
    opened(redis_url, shared)
    tried, refused = [], []
    began, may_end = threading.Event(), threading.Event()

    def trial() -> None:
        tried.append(1)
        began.set()
        may_end.wait(10)

    def attempt() -> None:
        breaker = SharedBreaker(redis_url, shared, failures=1, open_s=1)
        while not began.is_set() or not tried:
            try:
                breaker.call(trial)
            except AwayError:
                time.sleep(0.02)
            else:
                return
        try:
            breaker.call(trial)
        except AwayError:
            refused.append(1)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(refused) == 3, "the three others are refused while one tries")
    may_end.set()
    for thread in threads:
        thread.join()
    assert tried == [1]
    assert SharedBreaker(redis_url, shared).state == "closed"


def test_a_failed_trial_opens_the_circuit_again(redis_url: str) -> None:
    shared = name()
    breaker = opened(redis_url, shared)
    tries = []

    def fail() -> None:
        tries.append(1)
        raise UnknownOutcomeError

    def tried() -> bool:
        try:
            breaker.call(fail)
        except AwayError:
            return False
        except UnknownOutcomeError:
            return True
        return False

    wait_until(tried, "the trial")
    assert breaker.state == "open"
    with pytest.raises(AwayError):
        SharedBreaker(redis_url, shared).call(fail)
    assert tries == [1]


def test_exits_go_through_an_open_circuit_and_close_it(redis_url: str) -> None:
    breaker = opened(redis_url, name())
    with pytest.raises(UnknownOutcomeError):
        breaker.call(unknown, urgent=True)
    assert breaker.state == "open"
    assert breaker.call(lambda: "sold", urgent=True) == "sold"
    assert breaker.state == "closed"


def test_without_redis_exits_go_on_and_entries_do_not(loopback: Loopback) -> None:
    from homeostat.trading.venue.client import Endpoint
    from homeostat.trading.venue.guard import Guard
    from homeostat.trading.venue.loopback import KEY, SECRET

    nowhere = "redis://127.0.0.1:9/0"
    guard = Guard(Redis.from_url(nowhere), nowhere, name())
    exchange = Exchange(Endpoint(loopback.server.url, KEY, SECRET), guard)
    with pytest.raises(AwayError):
        exchange.place(Ticket("in", "BTCUSDT", 1, 0.01), 60_000.0)
    loopback.naive(enableRateLimit=False).create_order("BTC/USDT:USDT", "market", "buy", 0.01)
    out = Ticket("out", "BTCUSDT", -1, 0.01, reduce_only=True)
    assert exchange.place(out, 60_000.0).state == "FILLED"
    assert loopback.fills("in") == 0

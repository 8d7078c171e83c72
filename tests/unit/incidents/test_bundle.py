"""The bundle is whole, small, quick, and holds no secret."""

from __future__ import annotations

import base64
import enum
import json
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from homeostat.incidents import bundle, loglines, surroundings
from homeostat.incidents.bundle import LARGEST, capture, cleaner_of, size_of
from homeostat.incidents.failure import Failure

SECRET = "c0rrect-h0rse-battery"
GIVEN = "gr33n-h0rse-saddle"


def failure_of(error: BaseException) -> Failure:
    return Failure.from_exception(error, source="task", component="shop", task="shop.ship")


def failing(step: Any) -> Failure:
    try:
        step()
    except Exception as error:  # noqa: BLE001  # whatever it raises is what is looked at
        return failure_of(error)
    raise AssertionError("it did not fail")


def test_it_says_what_was_known() -> None:
    loglines.install()
    logging.getLogger("shop").warning("shelf %s is %d %% full", "A7", 93)
    surroundings.warm()

    def ship() -> None:
        order, parcels = 17, ["a", "b"]
        raise LookupError(f"order {order} has {len(parcels)} parcels")

    content: Any = capture(failing(ship))
    assert content["schema"] == 1
    assert content["failure"]["task"] == "shop.ship"
    innermost = content["exception"][0]
    assert innermost["message"] == "order 17 has 2 parcels"
    assert innermost["frames"][-1]["locals"] == {"order": 17, "parcels": ["a", "b"]}
    assert content["logs"][-1]["text"] == "shelf A7 is 93 % full"
    assert content["process"]["pid"] > 0
    assert content["host"]["memory_bytes"] > 0
    assert content["packages"]["celery"]
    assert len(content["source"].get("commit", "")) == 40 or "unavailable" in content["source"]
    assert content["configuration"]["settings"]["mode"] == "ENFORCED"


def test_no_planted_secret_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_API_TOKEN", f"{SECRET}-env")
    monkeypatch.setenv("PYTHON_SHOP_URL", f"amqp://u:{SECRET}-url@mq/")
    loglines.install()

    class Client:
        def __init__(self) -> None:
            self.token = f"{SECRET}-attribute"
            self.headers = {"Authorization": f"Bearer {SECRET}-header"}

    def refuse(url: str, password: str) -> None:
        raise ConnectionError(f"{url} refused {password}")

    def connect(password: str, url: str) -> None:
        client, raw = Client(), f"{SECRET}-bytes".encode()
        config = {
            "db": {"secret_key": f"{SECRET}-nested"},
            "pairs": [("api_key", f"{SECRET}-pair")],
        }
        token = raw
        logging.getLogger("shop").error("cannot use %s, nor %s", password, f"{SECRET}-env")
        try:
            refuse(url, password)
        except ConnectionError as error:
            raise RuntimeError(f"gave up with {client.token} {config} {token!r}") from error

    found = failing(
        lambda: connect(password=f"{SECRET}-local", url=f"https://ann:{SECRET}-user@api.lan/x")
    )
    text = json.dumps(capture(found))
    where = text.find(SECRET)
    assert where < 0, text[max(0, where - 200) : where + 80]
    assert base64.b64encode(SECRET.encode()).decode()[:16] not in text
    assert "gave up with" in text


class LoginError(Exception):
    def __init__(self, user: str, password: str) -> None:
        super().__init__(user, password)


class TokenError(Exception):
    def __init__(self, user: str, value: str) -> None:
        super().__init__(f"{user} may not use {value}")
        self.token = value


class Keys(enum.Enum):
    API_TOKEN = f"{GIVEN}-member"


@pytest.mark.parametrize(
    "error",
    [
        lambda: LoginError("ann", f"{GIVEN}-argument"),
        lambda: TokenError("ann", f"{GIVEN}-attribute"),
        lambda: ValueError(f"{Keys.API_TOKEN.value} is refused"),
    ],
)
def test_what_an_exception_was_given_in_secret_is_not_in_its_message(
    error: Callable[[], Exception],
) -> None:
    def raise_it() -> None:
        member = Keys.API_TOKEN
        raise error() from KeyError(member.name)

    found = failing(raise_it)
    for text in (json.dumps(capture(found)), cleaner_of(found).text(found.message)):
        assert GIVEN not in text


def test_a_hostile_local_does_not_hurt() -> None:
    class Hostile:
        ran = False

        def __repr__(self) -> str:
            type(self).ran = True
            time.sleep(5)
            return "x" * 2**30

        __str__ = __repr__

    def work() -> None:
        evil = Hostile()
        many = [evil] * 1_000
        logging.getLogger("shop").error("seen: %s", many)
        raise ValueError(evil, many)

    loglines.install()
    began = time.perf_counter()
    # Our own ring only: other handlers would call `__str__`, as they always do.
    record = logging.LogRecord("shop", 40, __file__, 1, "seen: %s", (Hostile(),), None)
    loglines._ring.emit(record)
    found = failing(lambda: _without_logging(work))
    capture(found)
    assert time.perf_counter() - began < 1
    assert not Hostile.ran


def _without_logging(work: Any) -> None:
    logging.disable(logging.CRITICAL)
    try:
        work()
    finally:
        logging.disable(logging.NOTSET)


def _huge() -> None:
    wide = {f"name_{number}": "v" * 1_500 for number in range(300)}

    def deep(level: int, **inner: Any) -> None:
        texts = ["t" * 1_999] * 500
        if level == 0:
            raise ValueError("x" * 10**6)
        try:
            deep(level - 1, **inner)
        except ValueError as error:
            raise ValueError("y" * 10**6 + texts[0]) from error

    deep(60, **wide)


def _endless() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(12_000)

    def again(number: int) -> int:
        return again(number + 1) + 1

    try:
        again(0)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("step", [_huge, _endless])
def test_a_huge_failure_is_small_and_quick(step: Any) -> None:
    found = failing(step)
    capture(found)
    began = time.thread_time()
    content = capture(found)
    assert time.thread_time() - began < 0.1
    assert size_of(content) <= LARGEST
    assert content["exception"]


def test_variables_are_shown_of_the_application_and_what_it_called() -> None:
    def called() -> None:
        json.loads("{")

    def raised() -> None:
        raise LookupError("no shelf")

    def shown(step: Callable[[], None]) -> list[tuple[str, bool]]:
        # Python's own code calls the application's, as a worker does.
        with ThreadPoolExecutor(1) as pool:
            content: Any = capture(failing(pool.submit(step).result))
        frames = content["exception"][0]["frames"]
        return [(frame["module"].split(".", 1)[0], "locals" in frame) for frame in frames]

    assert {told for module, told in shown(raised) if module == "concurrent"} == {False}
    assert [told for module, told in shown(called) if module == "json"] == [True] * 3
    for step in (called, raised):
        assert all(told for module, told in shown(step) if module == "tests")


def test_a_long_chain_says_how_many_it_leaves_out() -> None:
    def chained(level: int) -> None:
        if level == 0:
            raise KeyError("the cause")
        try:
            chained(level - 1)
        except LookupError as error:
            raise LookupError(f"level {level}") from error

    chain: Any = capture(failing(lambda: chained(9)))["exception"]
    messages = [link["message"] for link in chain]
    assert messages == ["'the cause'", *(f"level {level}" for level in (1, 2, 3, 4, 9))]
    assert [link.get("left_out_before") for link in chain] == [*[None] * 5, 4]


def test_what_is_too_large_is_cut_and_says_so() -> None:
    content: Any = capture(failing(_huge))
    content["logs"] = ["l" * 1_000] * 1_000
    cut: Any = bundle.fitted(content)
    assert size_of(cut) <= LARGEST
    assert cut["cut"] is True
    assert cut["exception"]


def test_capture_takes_no_longer_than_a_task_would_notice() -> None:
    def work(number: int) -> None:
        rows = [{"id": index, "name": f"row {index}"} for index in range(200)]
        config = {"retries": 3, "url": "https://api.lan/x"}
        raise KeyError(number, len(rows), len(config))

    loglines.install()
    for number in range(100):
        logging.getLogger("shop").info("line %d", number)
    capture(failing(lambda: work(0)))
    times = []
    for number in range(200):
        found = failing(lambda n=number: work(n))
        began = time.thread_time()
        capture(found)
        times.append(time.thread_time() - began)
    # CPU time of this thread: what a busy machine adds is not the bundle's.
    assert sorted(times)[int(len(times) * 0.99) - 1] < 0.020


def test_a_part_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no /proc here")

    monkeypatch.setattr(surroundings, "process", broken)
    content: Any = capture(Failure.without_frames("Lost", "gone", "worker", "shop"))
    assert content["process"] == {"unavailable": "OSError: no /proc here"}
    assert content["host"]["name"]


def test_a_redactor_that_fails_lets_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(bundle, "redactor", broken)
    content = capture(Failure.without_frames("Lost", SECRET, "worker", "shop"))
    assert content == {"schema": 1, "unavailable": "redaction failed: RuntimeError"}


def test_a_missing_source_file_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "gone.py"
    path.write_text("def go():\n    raise ValueError('gone')\n")
    space: dict[str, Any] = {"__name__": "gone"}
    exec(compile(path.read_text(), str(path), "exec"), space)  # noqa: S102  # the case under test
    path.unlink()
    content: Any = capture(failing(space["go"]))
    assert content["exception"][0]["frames"][-1]["context"] == ""

"""Hostile values are shown, or not shown, and never hurt."""

from __future__ import annotations

import time
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.incidents.rendering import is_code, message_of, render, text_of

CALLED: list[str] = []


class Hostile:
    """Whatever of it runs leaves a trace, and then hangs."""

    def _strike(self, *_: Any) -> NoReturn:
        CALLED.append("foreign code")
        time.sleep(2)
        raise SystemExit

    __repr__ = __str__ = __format__ = __len__ = __iter__ = __eq__ = __hash__ = _strike
    __getattribute__ = __bool__ = __reduce__ = __sizeof__ = __index__ = _strike
    __class__ = property(_strike)


class HostileMeta(type):
    __repr__ = __str__ = Hostile._strike
    __name__ = property(Hostile._strike)

    def __getattribute__(cls, name: str) -> Any:
        CALLED.append(name)
        time.sleep(2)


class HostileClass(metaclass=HostileMeta):
    pass


class HostileDict(dict[str, int]):
    __repr__ = __iter__ = items = keys = __getitem__ = __len__ = Hostile._strike


class HostileText(str):
    __slots__ = ()
    __repr__ = __str__ = __format__ = __getitem__ = Hostile._strike
    encode = Hostile._strike  # type: ignore[assignment]  # hostile on purpose


class HostileInt(int):
    __repr__ = __str__ = __format__ = bit_length = __index__ = Hostile._strike


class Gigabyte:
    def __repr__(self) -> str:
        CALLED.append("a gigabyte")
        return "x" * 2**30


class HostileError(Exception):
    __str__ = __repr__ = Hostile._strike

    args = property(Hostile._strike)


def nested() -> object:
    made: list[object] = []
    for _ in range(10**5):
        made = [made]
    return made


#: Made inside the test only: pytest itself would run their code if it saw them.
VALUES: dict[str, Callable[[], object]] = {
    "an object": Hostile,
    "an object of a hostile class": HostileClass,
    "a class": lambda: HostileClass,
    "a dictionary": lambda: HostileDict(a=1),
    "a text": lambda: HostileText("text"),
    "a number": lambda: HostileInt(7),
    "a gigabyte": Gigabyte,
    "a list": lambda: [Hostile()] * 5,
    "a value": lambda: {"key": Hostile()},
    "a nest": lambda: (Hostile(), {1: Gigabyte()}),
    "an exception": lambda: HostileError("why"),
    "an argument": lambda: ValueError(Hostile()),
    "a huge number": lambda: 1 << 400_000,
    "a long text": lambda: "x" * 10**7,
    "many bytes": lambda: b"\xff" * 10**7,
    "a long list": lambda: list(range(10**6)),
    "no number": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a lone surrogate": lambda: "\ud800 lone",
    "a NUL": lambda: "nul \x00 byte",
    "a plain object": object,
    "an ordered dictionary": lambda: OrderedDict(a=1),
    "a wrapped dictionary": lambda: UserDict(a=1),
    "a range": lambda: range(10**9),
    "an iterator": lambda: iter([1]),
    "a function": lambda: len,
    "a module": lambda: time,
    "a deep nest": nested,
}


@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_does_not_hurt(name: str) -> None:
    made = [VALUES[name]()]
    CALLED.clear()
    began = time.thread_time()
    shown = render(made[0])
    text = text_of(made[0])
    is_code(made[0])
    seconds = time.thread_time() - began
    assert CALLED == []
    assert seconds < 0.1
    assert len(repr(shown)) < 20_000
    assert len(text) <= 20_000
    text.encode("utf-8")


def test_it_shows_what_is_there() -> None:
    class Order:
        def __init__(self) -> None:
            self.number = 7
            self.lines = [("apple", 2)]

    assert render({"order": Order(), "ok": True, "raw": b"\xff"}) == {
        "order": {
            "<type>": f"{__name__}.test_it_shows_what_is_there.<locals>.Order",
            "number": 7,
            "lines": [["apple", 2]],
        },
        "ok": True,
        "raw": "b'\\xff' (1 bytes)",
    }
    assert render(HostileText("text")) == "text"
    assert render(HostileDict(a=1)) == {"a": 1}
    assert render(HostileInt(7)) == 7


def test_a_named_tuple_is_shown_by_its_names() -> None:
    login = namedtuple("login", "user password")  # noqa: PYI024  # the case
    assert render(login("ann", "hunter2")) == {"user": "ann", "password": "hunter2"}

    class Posing(tuple[int, ...]):
        __slots__ = ()
        _fields = property(Hostile._strike)

    posing: Any = Posing

    CALLED.clear()
    assert render(posing((1, 2))) == [1, 2]
    assert CALLED == []


def test_a_value_that_holds_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    tangle: dict[str, Any] = {}
    tangle.update({str(number): tangle for number in range(100)})
    assert len(repr(render(endless))) < 1_000
    assert len(repr(render(tangle))) < 200_000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


@given(_JSON)
def test_what_it_makes_is_json(value: object) -> None:
    import json

    json.dumps(render(value), allow_nan=False).encode("utf-8")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no"), "no"),
        (KeyError("key"), "'key'"),
        (ValueError(1, "two"), "(1, 'two')"),
        (FileNotFoundError(2, "No such file", "/x"), "[Errno 2] No such file: '/x'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), None),
        (ValueError(), ""),
        (ValueError("\ud800"), "\\ud800"),
        (ExceptionGroup("several", [ValueError("x")]), "several"),
    ],
)
def test_it_reads_messages(error: BaseException, message: str | None) -> None:
    assert message_of(error) == (str(error) if message is None else message)


def test_a_hostile_message_is_read_from_its_arguments() -> None:
    CALLED.clear()
    assert message_of(HostileError("why")) == "why"
    assert CALLED == []

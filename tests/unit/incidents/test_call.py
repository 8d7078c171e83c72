"""Which calls can be made again: a function by name, with plain arguments and no secret."""

from __future__ import annotations

import ast

import pytest

from homeostat.incidents import bundle
from homeostat.incidents.call import LARGEST, Call, call_in
from homeostat.incidents.failure import Failure


class Loud(str):
    """A text that must not be asked anything."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise AssertionError("code of an argument ran")

    __str__ = __repr__


def test_its_code_makes_the_call_with_the_very_arguments() -> None:
    args = ([1, 2.5, None, True], {"a": ["it's", 'a "b"']})
    call = Call.read("shop.till", "receipt", args, {"currency": "€\n", "lines": [[1]]})
    assert call is not None
    called = ast.parse(call.code).body[1]
    assert isinstance(called, ast.Expr)
    assert isinstance(called.value, ast.Call)
    assert tuple(ast.literal_eval(one) for one in called.value.args) == args
    named = {one.arg: ast.literal_eval(one.value) for one in called.value.keywords}
    assert named == {"currency": "€\n", "lines": [[1]]}


@pytest.mark.parametrize(
    ("module", "function", "args", "kwargs"),
    [
        ("__main__", "receipt", [], {}),
        ("shop till", "receipt", [], {}),
        ("os; import shutil", "receipt", [], {}),
        ("shop", "receipt(); evil", [], {}),
        ("shop", "Till.receipt", [], {}),
        ("shop", "receipt", [object()], {}),
        ("shop", "receipt", [Loud("x")], {}),
        ("shop", "receipt", [{1: "a key that JSON would change"}], {}),
        ("shop", "receipt", [float("nan")], {}),
        ("shop", "receipt", [b"bytes"], {}),
        ("shop", "receipt", [], {"no name": 1}),
        ("shop", "receipt", ["x" * LARGEST], {}),
        ("shop", "receipt", "args", {}),
        ("shop", "receipt", [], None),
        (None, "receipt", [], {}),
    ],
)
def test_what_cannot_be_made_again_is_no_call(
    module: object, function: object, args: object, kwargs: object
) -> None:
    assert Call.read(module, function, args, kwargs) is None


def seen(*args: object, **kwargs: object) -> Call | None:
    """The call as it comes out of a bundle."""
    failure = Failure.without_frames("ValueError", "it broke", "task", "shop.sell")
    call = Call.read("shop", "receipt", list(args), kwargs)
    assert call is not None
    vars_ = {name: getattr(failure, name) for name in ("source", "component", "task", "chain")}
    return call_in(bundle.capture(Failure(**vars_, call=call)))


def test_it_comes_back_from_the_bundle_as_it_was() -> None:
    assert seen([1, 2], discount=0.5) == Call("shop", "receipt", ([1, 2],), {"discount": 0.5})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(("token=abcdef123456",), {}), ((), {"password": "hunter2-hunter2"})],
)
def test_a_call_with_a_secret_is_not_made_again(
    args: tuple[str, ...], kwargs: dict[str, str]
) -> None:
    assert seen(*args, **kwargs) is None


@pytest.mark.parametrize("content", [{}, {"call": None}, {"call": {"unavailable": "x"}}])
def test_a_bundle_without_a_call_has_none(content: dict[str, object]) -> None:
    assert call_in(content) is None  # type: ignore[arg-type]  # what an older version wrote

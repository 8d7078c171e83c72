"""A small application that fails in known ways; its copies are moved, shifted and run elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Orders:
    def save(self, number: int) -> list[int]:
        return [self._one(number) for _ in range(1)]

    @traced
    def _one(self, number: int) -> int:
        raise ValueError(f"order {number} is not open")


def decorated(number: int) -> None:
    Orders().save(number)


def chained(number: int) -> None:
    try:
        json.loads("{" * (number % 5 + 1))
    except ValueError as error:
        raise RuntimeError(f"cannot read {number}") from error


def suppressed(number: int) -> None:
    try:
        json.loads("{")
    except ValueError:
        raise LookupError(f"nothing for {number}") from None


def recurse(number: int) -> int:
    return recurse(number) + 1


def even(number: int) -> bool:
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    if number <= 0:
        raise ArithmeticError(f"{number} is below zero")
    return even(number - 1)


def mutual(number: int) -> None:
    odd(2 * (number % 50) + 2)


def unexpected_keyword(number: int) -> None:
    Orders().save(number, subsystem="coding")  # type: ignore[call-arg]  # the failure itself


def missing_name(number: int) -> None:
    del number
    from json import async_session  # type: ignore[attr-defined]  # noqa: F401  # the failure itself


def generated(number: int) -> None:
    exec(compile("raise KeyError(number)", "<string>", "exec"), {"number": number})  # noqa: S102


def anonymous(number: int) -> None:
    list(map(lambda value: int(f"x{value}"), [number]))  # noqa: C417  # a lambda's own frame


def native(number: int) -> None:
    sorted([1, f"{number}"])  # type: ignore[type-var]  # the failure itself


def grouped(number: int) -> None:
    errors: list[Exception] = []
    for step in (lambda: decorated(number), lambda: int(f"x{number}")):
        try:
            step()
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup(f"{number} failed", errors)


def alone_in_group(number: int) -> None:
    try:
        decorated(number)
    except ValueError as error:
        raise ExceptionGroup("one", [error]) from None


WAYS: dict[str, Callable[[int], Any]] = {
    function.__name__: function
    for function in (
        decorated, chained, suppressed, recurse, mutual, unexpected_keyword, missing_name,
        generated, anonymous, native, grouped, alone_in_group,
    )
}  # fmt: skip

"""Failures that Python 3.11, 3.12 and 3.13 word, name, inline or place differently."""

from __future__ import annotations

import abc
import asyncio
import enum
import json
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import PurePosixPath
from types import FunctionType
from typing import Any


class Pump(abc.ABC):
    @abc.abstractmethod
    def go(self) -> None: ...

    @abc.abstractmethod
    def stop(self) -> None: ...


class Colour(enum.Enum):
    RED = 1


class Valve:
    __slots__ = ("state",)


def comprehension() -> list[int]:
    return [
        int(word)
        for word in ["a"]
    ]  # fmt: skip


def condition_of_a_comprehension() -> list[str]:
    return [
        word
        for word in ["a"]
        if int(word)
    ]  # fmt: skip


def comprehensions_within() -> dict[str, list[float]]:
    return {
        key: [
            1 // number
            for number in (0,)
        ]
        for key in "ab"
    }  # fmt: skip


def lambda_in_a_comprehension() -> list[int]:
    return [(lambda text=word: int(text))() for word in ["a"]]  # noqa: PLC3002  # its frame


def awaited_comprehension() -> None:
    async def words() -> Any:
        yield "a"

    async def main() -> list[int]:
        return [
            int(word)
            async for word in words()
        ]  # fmt: skip

    asyncio.run(main())


def generator() -> int:
    return sum(
        int(word)
        for word in ["a"]
    )  # fmt: skip


def chain_of_calls() -> Any:
    return (
        "abc"
        .upper()
        .nope()  # type: ignore[attr-defined]  # the failure itself
    )  # fmt: skip


def formatted_text() -> str:
    found: dict[str, int] = {}
    return f"""
    one
    {found["k"]}
    """


def pattern() -> None:
    re.compile("(")


def abstract() -> None:
    Pump()  # type: ignore[abstract]  # the failure itself


def trailing_comma_in_an_object() -> None:
    json.loads('{"a": 1,}')


def trailing_comma_in_an_array() -> None:
    json.loads("[1,]")


def misspelt_method() -> None:
    "x".uper()  # type: ignore[attr-defined]  # the failure itself


def missing_import() -> None:
    asyncio_.run()  # type: ignore[name-defined]  # noqa: F821  # the failure itself


def misspelt_keyword() -> None:
    "a".split(mxsplit=1)  # type: ignore[call-arg]  # noqa: SIM905  # the failure itself


def attribute_without_room() -> None:
    Valve().litres = 3  # type: ignore[attr-defined]  # the failure itself


def attribute_not_set() -> None:
    Valve().state  # type: ignore[attr-defined]  # noqa: B018  # the failure itself


def smallest_of_nothing() -> None:
    min([])


def local_class_pickled() -> None:
    class Local: ...

    pickle.dumps(Local())


def path_elsewhere() -> None:
    PurePosixPath("/a").relative_to("/b")


def syntax() -> None:
    compile("x = = 1", "<settings>", "exec")


def command() -> None:
    subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)


def noted() -> None:
    try:
        int("x")
    except ValueError as error:
        error.add_note("while the order was read")
        raise


def group() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one())
            tasks.create_task(other())

    async def one() -> None:
        raise ValueError("one")

    async def other() -> None:
        raise LookupError("other")

    asyncio.run(main())


def within_the_group() -> None:
    try:
        group()
    except* ValueError:
        raise KeyError("again") from None


def named_only() -> None:
    raise RuntimeError("late") from ValueError("cause")


def frozen_frames() -> None:
    from json import nothing_there  # type: ignore[attr-defined]  # noqa: F401  # as above


def path_of_wrong_type() -> None:
    PurePosixPath(7)  # type: ignore[arg-type]  # as above


def unknown_member() -> None:
    Colour.BLUE  # type: ignore[attr-defined]  # noqa: B018  # as above


WAYS: dict[str, Callable[[], Any]] = {
    name: found
    for name, found in sorted(globals().items())
    if isinstance(found, FunctionType) and found.__module__ == __name__
}


def printed(error: BaseException) -> list[str]:
    """Return the traceback as this Python prints it: plain and, where it can, in colours."""
    shown = traceback.TracebackException.from_exception(error)
    texts = ["".join(shown.format())]
    if sys.version_info >= (3, 13):
        texts.append("".join(shown.format(colorize=True)))
    return texts

"""Syntax trees are built one at a time: threads that build them at once spoil each other's."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from homeostat import syntax

SOURCE = "\n".join(f"def f{number}(a, b=(1, [2])):\n    return a + b" for number in range(200))


@pytest.fixture
def turns_taken_half_way() -> Iterator[None]:
    """Let other threads have their turn whenever garbage is collected, and that often."""

    def give_way(phase: str, info: dict[str, int]) -> None:
        del phase, info
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(100)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(give_way)


@pytest.mark.usefixtures("turns_taken_half_way")
def test_threads_that_parse_at_once_do_not_spoil_each_others_trees() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                syntax.parse(SOURCE)
                syntax.literal(" [1, {2: 3}]")
        except SystemError as error:
            raised.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []


def test_a_literal_is_its_value_and_code_is_none() -> None:
    assert syntax.literal(" {'a': [1, None]}") == {"a": [1, None]}
    with pytest.raises(ValueError, match="malformed"):
        syntax.literal("print()")
    with pytest.raises(SyntaxError):
        syntax.parse("def f(:")

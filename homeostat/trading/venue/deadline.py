"""A guard of time around a whole call: connecting, waiting and every byte of the answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

#: Seconds that any call to the venue may take in all.
CALL_S = 10.0


class DeadlineError(Exception):
    """The call was not done in time; it goes on in its own thread, and nobody listens."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise DeadlineError after `seconds`.

    A socket's own time-out counts from byte to byte, so a venue that trickles would hold a
    worker for ever. The thread that is left behind ends with its socket.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001  # handed over to the caller
            failed.append(error)

    thread = Thread(target=run, name="venue-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise DeadlineError(f"No whole answer within {seconds:g} s.")
    return done[0]

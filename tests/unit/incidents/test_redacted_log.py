"""No secret reaches a process's log: not by its message, its arguments or its traceback."""

from __future__ import annotations

import io
import logging
import secrets

import pytest

from homeostat.incidents import redacted_log
from homeostat.incidents.redaction import protect


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(written: io.StringIO) -> logging.Logger:
    logger = logging.Logger("a-test")  # noqa: LOG001  # of the test's own, in no hierarchy
    logger.addHandler(logging.StreamHandler(written))
    for _ in range(2):
        redacted_log.guard(logger)
    return logger


def refuse(value: str) -> None:
    raise ConnectionError(f"https://venue.example/?key={value}")


def test_a_line_and_its_traceback_hold_no_protected_value(
    log: logging.Logger, written: io.StringIO
) -> None:
    value = f"made-up-{secrets.token_hex(12)}"
    protect(value)
    log.error("The venue refused %s", value)
    try:
        refuse(value)
    except ConnectionError:
        log.exception("The order was not sent")
    assert value not in written.getvalue()
    assert "The venue refused" in written.getvalue()
    assert "ConnectionError" in written.getvalue()


def test_an_ordinary_line_stays_as_it_is(log: logging.Logger, written: io.StringIO) -> None:
    log.info("Task checks.kernels.message_bus succeeded in %s s", 0.02)
    assert written.getvalue() == "Task checks.kernels.message_bus succeeded in 0.02 s\n"


class Hostile:
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_line_that_cannot_be_written_is_withheld(
    log: logging.Logger, written: io.StringIO
) -> None:
    log.info("%s", Hostile())
    assert written.getvalue() == f"{redacted_log.WITHHELD}\n"

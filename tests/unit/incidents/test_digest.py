"""An error storm is a digest; a rare error in it is not lost."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from homeostat.incidents.digest import Digest
from tests.waiting import wait_until


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def storm(interval_s: float) -> Iterator[tuple[logging.Logger, Digest, Kept]]:
    kept, digest = Kept(), Digest(interval_s)
    logger, digests = logging.getLogger("storm"), logging.getLogger("homeostat.digest")
    logger.addFilter(digest)
    for one in (logger, digests):
        one.addHandler(kept)
    try:
        yield logger, digest, kept
    finally:
        logger.removeFilter(digest)
        for one in (logger, digests):
            one.removeHandler(kept)


def predict(number: int) -> None:
    raise ValueError(f"prediction {number} failed")


def common(logger: logging.Logger, number: int) -> None:
    try:
        predict(number)
    except ValueError:
        logger.exception("prediction failed")


def rare(logger: logging.Logger) -> None:
    try:
        os.environ["HOMEOSTAT_RARE"]
    except KeyError:
        logger.exception("something rare")


def test_289_failures_are_one_line_an_interval_with_the_count() -> None:
    with storm(60) as (logger, digest, kept):
        for number in range(289):
            common(logger, number)
        rare(logger)
        assert kept.lines == ["prediction failed", "something rare"]
        digest.flush()
        assert kept.lines[2:] == [line for line in kept.lines[2:] if ": 288 more in " in line]
        assert len(kept.lines) == 3


def test_each_interval_says_how_many_and_a_quiet_one_says_nothing() -> None:
    with storm(2) as (logger, digest, kept):
        for number in range(10):
            common(logger, number)
        assert kept.lines == ["prediction failed"]
        wait_until(lambda: len(kept.lines) == 2, "the first interval's count", 20)
        assert "9 more in the last 2 s" in kept.lines[1]
        # A quiet interval ends the digest, so the next failure is logged whole again.
        wait_until(lambda: not digest._held, "a quiet interval", 20)
        common(logger, 1)
        assert kept.lines[2:] == ["prediction failed"]


def test_two_tasks_failing_outside_the_application_are_two_digests() -> None:
    def fail(task: str) -> None:
        try:
            json.loads("{")
        except ValueError as error:
            error.__traceback__ = None
            logger.exception("failed", exc_info=error, extra={"data": {"name": task}})

    with storm(60) as (logger, digest, kept):
        for task in ("shop.total", "shop.total", "shop.redeem", "shop.redeem"):
            fail(task)
        digest.flush()
        labels = sorted(line.split("_", 1)[0] for line in kept.lines[2:])
        assert (kept.lines[:2], labels) == (["failed", "failed"], ["redeem", "total"])


def test_lines_without_an_exception_pass() -> None:
    with storm(60) as (logger, _, kept):
        for _ in range(5):
            logger.warning("plain")
        assert kept.lines == ["plain"] * 5

"""A Celery app with a timetable of a test's own: `BEAT_TABLE`, a JSON list of entries.

Each is `{"name": …, "every_s": …}`, with `task` and `catch_up` where they differ.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celery import Celery

from homeostat.settings import settings
from homeostat.store.beat import SHIPPED, BeatEntry
from homeostat.supervision.timetable import Entry
from workers import signing
from workers.beat import HeapScheduler, row_of
from workers.config import celery_settings


class TableScheduler(HeapScheduler):
    """The scheduler over the test's timetable."""

    def declared(self) -> Sequence[BeatEntry]:
        return [
            row_of(
                Entry(
                    row["name"],
                    row.get("task", f"checks.{row['name']}"),
                    row["every_s"],
                    {},
                    row.get("catch_up", True),
                ),
                SHIPPED,
            )
            for row in json.loads(os.environ["BEAT_TABLE"])
        ]


app = Celery("beat-test")
app.config_from_object(celery_settings(settings()))
app.conf.beat_scheduler = "tests.worker.beat_app:TableScheduler"


@app.task(name="checks.seen", bind=True)  # type: ignore[untyped-decorator]  # Celery publishes no types
def seen(self: Any, **kwargs: Any) -> None:
    """Write down what a worker was given."""
    _note({"kwargs": kwargs, "expires": self.request.expires})


@app.task(name="trade.seen", bind=True)  # type: ignore[untyped-decorator]  # Celery publishes no types
def seen_signed(self: Any, **kwargs: Any) -> None:
    """Write down what a worker was given, after its signature was found good."""
    header = self.request.headers.get(signing.HEADER)
    signing.verify(settings().secret_key(), self.name, self.request.id, kwargs, header)
    _note({"kwargs": kwargs, "signed": True})


@app.task(name="chaos.hold")  # type: ignore[untyped-decorator]  # Celery publishes no types
def hold(gate: str) -> None:
    """Keep the worker busy until the file `gate` exists."""
    import time

    while not Path(gate).exists():
        time.sleep(0.02)


@app.task(name="chaos.order")  # type: ignore[untyped-decorator]  # Celery publishes no types
def order(mark: str) -> None:
    """Write down that it was this one's turn."""
    _note({"mark": mark})


def _note(row: dict[str, Any]) -> None:
    with Path(os.environ["SEEN_FILE"]).open("a") as file:
        file.write(json.dumps(row) + "\n")

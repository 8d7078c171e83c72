"""The timetable: what it names exists, is consumed, and stands in it once."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest

import beat_schedule
from homeostat import registry
from homeostat.settings import settings
from homeostat.supervision.timetable import Entry
from workers.app import app
from workers.processes import processes
from workers.queues import queue_of

ENTRIES = {entry.name: entry for entry in beat_schedule.ENTRIES}


@pytest.fixture(scope="module", autouse=True)
def _tasks_are_imported() -> None:
    app.loader.import_default_modules()


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_entry_names_a_registered_task(entry: Entry) -> None:
    assert entry.task in app.tasks


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_task_takes_what_the_beat_sends(entry: Entry) -> None:
    if entry.task not in app.tasks:
        pytest.fail(f"{entry.task} is not registered")
    signature = inspect.signature(app.tasks[entry.task].run)

    signature.bind(**entry.kwargs, entry=entry.name, due_at="", interval_s=1.0)


def test_nothing_is_listed_twice() -> None:
    names = Counter(entry.name for entry in beat_schedule.ENTRIES)
    tasks = Counter(entry.task for entry in beat_schedule.ENTRIES)

    assert max(names.values()) == 1
    assert max(tasks.values()) == 1


def test_every_component_that_ships_has_its_check() -> None:
    checked = {entry.task.removeprefix("checks.") for entry in beat_schedule.ENTRIES}

    assert set(registry.built_in_names()) - checked == set()


def test_every_queue_of_the_timetable_is_consumed_by_a_worker_of_the_stack() -> None:
    consumed = set()
    for process in processes(settings()):
        words = list(process.arguments)
        if "--queues" in words:
            consumed |= set(words[words.index("--queues") + 1].split(","))

    assert {queue_of(entry.task) for entry in beat_schedule.ENTRIES} <= consumed


def test_every_interval_is_a_cadence() -> None:
    assert min(entry.interval_s for entry in beat_schedule.ENTRIES) > 0

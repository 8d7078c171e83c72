"""The scheduler of `celery beat`: due entries from a heap, sent in batches, one active beat.

Due times lie on a grid that every process computes alike, so that a second beat has nothing to
add and one that takes over knows what is due. What cannot be sent is kept, the newest tick of
each entry, and goes out late in one message: never in a burst.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from celery import Celery
from celery.beat import Scheduler

import beat_schedule
from homeostat import registry
from homeostat.component import Wing
from homeostat.errors import BrokerUnavailableError
from homeostat.store.beat import PLUGIN, SHIPPED, BeatEntry, Hold
from homeostat.supervision import cadence
from homeostat.supervision.timetable import Entry, check
from workers.leadership import Leadership, Timetable
from workers.publishing import FencedError, Publisher, publisher
from workers.ticks import Template, used_queues

log = logging.getLogger(__name__)

#: One message batch holds no more than this; Redis runs it in a few milliseconds.
MOST_IN_BATCH = 500
#: The loop wakes no more often than this, in seconds: what falls due meanwhile goes together.
SHORTEST_REST_S = 0.05
#: It wakes at least this often, in seconds, to see a changed timetable or lock.
LONGEST_REST_S = 0.5
#: A tick is late after this, in microseconds; an entry without `catch_up` is then given up.
LATE_US = 1_000_000
#: A watermark that lies further ahead than this, in microseconds, says that the clock went back.
CLOCK_BACK_US = 5_000_000


class Batch(NamedTuple):
    """Ticks that were sent without an answer: whether they arrived has to be asked."""

    token: int
    number: int
    until_us: int
    ticks: dict[str, int]


class HeapScheduler(Scheduler):
    """Fires every due tick of the timetable in the database, exactly one beat at a time."""

    def __init__(self, app: Celery, *, lazy: bool = False, **kwargs: Any) -> None:
        super().__init__(app, lazy=True, **kwargs)
        self._leadership: Leadership | None = None if lazy else Leadership(self.declared)
        self._started = False
        self._publisher: Publisher | None = None
        self._token = 0
        self._number = 0
        self._unanswered: Batch | None = None
        self._timetable = Timetable()
        self._templates: dict[str, Template] = {}
        self._next: list[tuple[int, str]] = []
        self._pending: dict[str, int] = {}
        self._until_us = 0
        self._broker_away = False

    def declared(self) -> Sequence[BeatEntry]:
        """Return the timetable as it is declared: what ships, and what plugins bring."""
        shipped = [row_of(entry, SHIPPED) for entry in beat_schedule.ENTRIES]
        return shipped + [row_of(entry, PLUGIN) for entry in plugin_entries()]

    @property
    def info(self) -> str:
        """A line for the banner."""
        return "    . timetable -> table beat_entries; one active beat by the lock beat_lock"

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Send what is due and return how many seconds to rest."""
        if self._leadership is None:
            return LONGEST_REST_S
        if not self._started:
            self._started = True
            self._leadership.start()
        hold = self._leadership.hold()
        if hold is None:
            return LONGEST_REST_S
        try:
            return self._lead(self._leadership, hold)
        except BrokerUnavailableError as error:
            if not self._broker_away:
                log.warning("%s", error)
            self._broker_away = True
        except FencedError as error:
            log.warning("A later beat has sent already; this one waits")
            self._leadership.drop(above=error.token)
        return LONGEST_REST_S

    def _lead(self, leadership: Leadership, hold: Hold) -> float:
        if hold.token != self._token:
            self._take_over(leadership, hold)
        if leadership.timetable is not self._timetable:
            self._take_up(leadership.timetable, 0)
        self._ask_about_unanswered()
        # The time is read after all that may have waited for the broker.
        now_us = time.time_ns() // 1000
        self._watch_clock(now_us)
        self._collect(now_us)
        self._send(leadership, now_us)
        if self._broker_away:
            log.info("The broker takes ticks again")
        self._broker_away = False
        soonest = self._next[0][0] if self._next else now_us + 1_000_000
        rest = soonest / 1e6 - time.time()
        return max(SHORTEST_REST_S, min(rest, LONGEST_REST_S))

    def _take_over(self, leadership: Leadership, hold: Hold) -> None:
        """Learn what was sent: from the broker's mark, else from the lock, else nothing was due."""
        if self._publisher is None:
            templates = [Template(self.app, entry) for entry in leadership.timetable.entries]
            self._publisher = publisher(self.app, used_queues(templates))
        mark = self._publisher.settle(hold.token, 0)
        now_us = time.time_ns() // 1000
        if mark.until_us is not None:
            self._until_us = mark.until_us
        elif hold.sent_until is not None:
            self._until_us = cadence.microseconds(hold.sent_until)
        else:
            self._until_us = now_us
        self._token, self._number, self._unanswered = hold.token, 0, None
        self._pending = {}
        self._templates = {}
        self._take_up(leadership.timetable, self._until_us)

    def _take_up(self, timetable: Timetable, from_us: int) -> None:
        """Go over to a timetable: what keeps its interval keeps its next tick.

        Any other entry begins where its grid begins to hold, and not before `from_us`.
        """
        intervals = {name: old.entry.interval_s for name, old in self._templates.items()}
        self._templates = {entry.name: Template(self.app, entry) for entry in timetable.entries}
        kept = {
            name: due
            for due, name in self._next
            if name in self._templates
            and self._templates[name].entry.interval_s == intervals.get(name)
        }
        self._pending = {name: due for name, due in self._pending.items() if name in kept}
        self._timetable = timetable
        self._fill_heap(kept, from_us)

    def _fill_heap(self, known: dict[str, int], from_us: int) -> None:
        self._next = []
        for name, template in self._templates.items():
            start_us = max(from_us, cadence.microseconds(self._timetable.since[name]))
            due = known.get(name) or template.newest_us(start_us) + template.every_us
            self._next.append((due, name))
        heapq.heapify(self._next)

    def _watch_clock(self, now_us: int) -> None:
        """Begin anew from now where the clock went back, rather than wait until it catches up."""
        if self._until_us <= now_us + CLOCK_BACK_US:
            return
        log.warning("The clock went back by %d s", (self._until_us - now_us) // 1_000_000)
        self._until_us = now_us
        self._pending = {}
        self._fill_heap({}, now_us)

    def _collect(self, now_us: int) -> None:
        """Move what is due from the heap to what is to be sent: one tick per entry, the newest."""
        while self._next and self._next[0][0] <= now_us:
            _, name = self._next[0]
            template = self._templates[name]
            newest = template.newest_us(now_us)
            heapq.heapreplace(self._next, (newest + template.every_us, name))
            self._pending[name] = newest
        for name, due in list(self._pending.items()):
            if now_us - due > LATE_US and not self._templates[name].entry.catch_up:
                del self._pending[name]

    def _ask_about_unanswered(self) -> None:
        """After a broken connection, ask the broker whether the last batch arrived."""
        if self._unanswered is None or self._publisher is None:
            return
        batch = self._unanswered
        mark = self._publisher.settle(batch.token, batch.number)
        if (mark.token, mark.batch) >= (batch.token, batch.number):
            self._delivered(batch)
        self._unanswered = None

    def _send(self, leadership: Leadership, now_us: int) -> None:
        """Send what is to be sent, in order of due time, so that one moment marks what was."""
        ticks = sorted((due, name) for name, due in self._pending.items())
        while ticks and self._publisher is not None and leadership.hold() is not None:
            size = _whole_moments(ticks, MOST_IN_BATCH)
            part, ticks = ticks[:size], ticks[size:]
            until_us = part[-1][0] if ticks else max(now_us, part[-1][0])
            messages = [self._templates[name].message(due, now_us) for due, name in part]
            self._number += 1
            batch = Batch(self._token, self._number, until_us, {name: due for due, name in part})
            self._unanswered = batch
            self._publisher.send(batch.token, batch.number, until_us, messages)
            self._delivered(batch)
            self._unanswered = None
        leadership.sent_until = cadence.moment(self._until_us)

    def _delivered(self, batch: Batch) -> None:
        for name, due in batch.ticks.items():
            if self._pending.get(name) == due:
                del self._pending[name]
        self._until_us = batch.until_us

    def close(self) -> None:
        """Give the lock back and let the broker go."""
        if self._leadership is not None:
            self._leadership.stop()
        if self._publisher is not None:
            self._publisher.close()
        super().close()


def _whole_moments(ticks: Sequence[tuple[int, str]], most: int) -> int:
    """Return how many of the ticks go together: `most`, and all that are due with the last."""
    size = min(most, len(ticks))
    while size < len(ticks) and ticks[size][0] == ticks[size - 1][0]:
        size += 1
    return size


def row_of(entry: Entry, source: str) -> BeatEntry:
    """Return the row of a declared entry."""
    return BeatEntry(
        name=entry.name,
        task=entry.task,
        interval_s=entry.interval_s,
        declared_s=entry.interval_s,
        kwargs=dict(entry.kwargs),
        catch_up=entry.catch_up,
        source=source,
    )


def plugin_entries() -> list[Entry]:
    """Return the entries that plugins declare in their specs; a broken plugin has none."""
    return [
        check(name, every_s=spec.interval_s)
        for name, spec in registry.specs().items()
        if spec.wing is Wing.PLUGINS and spec.interval_s is not None
    ]

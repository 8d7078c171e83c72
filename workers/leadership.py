"""Which beat is the active one: the lock, kept by a thread so that a slow database delays no tick.

The thread also watches the timetable. The main loop reads what the thread found; both sides
exchange whole values by assignment, so that a signal handler can stop the beat at any point.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from homeostat.store import beat
from homeostat.store.beat import BeatEntry, Hold
from homeostat.store.database import migrate, reading, transaction
from homeostat.supervision.timetable import Entry
from workers import holder as holders

log = logging.getLogger(__name__)

#: How long the lock holds without a renewal: what a takeover from a stopped beat waits for.
TTL = timedelta(seconds=6)
#: How often it is renewed, in seconds.
RENEW_S = 2.0
#: How often a waiting beat looks whether it is free, in seconds.
LOOK_S = 0.5
#: The holder stops sending this long before its lock runs out, in seconds.
MARGIN_S = 1.0


class Timetable(NamedTuple):
    """The entries in force, and since when each one's grid holds."""

    entries: tuple[Entry, ...] = ()
    since: Mapping[str, datetime] = {}


class Leadership:
    """Takes the lock when it is free, renews it, and gives it back."""

    def __init__(self, declared: Callable[[], Sequence[BeatEntry]]) -> None:
        self._declared = declared
        self._holder = holders.own_name()
        self._hold: Hold | None = None
        self._sure_until = 0.0
        self._above = 0
        self._print: tuple[Any, ...] = ()
        self._migrated = False
        self._trouble = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat-lock", daemon=True)
        #: What holds now, replaced as a whole; the main loop compares by identity.
        self.timetable = Timetable()
        #: Written by the main loop: every tick due until then was sent or given up.
        self.sent_until: datetime | None = None

    def start(self) -> None:
        """Begin to ask for the lock."""
        self._thread.start()

    def hold(self) -> Hold | None:
        """Return the lock while it is surely ours, else None."""
        hold = self._hold
        return hold if time.monotonic() < self._sure_until else None

    def drop(self, above: int = 0) -> None:
        """Count the lock as another's; ours must be `above` the token that the broker has seen."""
        self._above = max(self._above, above)
        self._sure_until = 0.0
        self._hold = None

    def stop(self) -> None:
        """Give the lock back and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=RENEW_S)
        hold, self._hold = self._hold, None
        self._sure_until = 0.0
        if hold is None:
            return
        try:
            with transaction() as session:
                beat.release(session, hold, self.sent_until)
        except Exception:
            log.exception("The beat's lock could not be given back; it runs out by itself")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
                self._trouble = ""
            # The thread must outlive whatever the database does; the lock runs out meanwhile.
            except Exception as error:  # noqa: BLE001
                self._report(error)
            self._stop.wait(RENEW_S if self._hold else LOOK_S)

    def _report(self, error: Exception) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.warning("The beat's lock could not be kept: %s", error)

    def _step(self) -> None:
        if not self._migrated:
            migrate()
            self._migrated = True
        if self._hold is None:
            self._take()
        else:
            self._renew(self._hold)
        if self._hold is not None:
            self._read_timetable()

    def _take(self) -> None:
        with reading() as session:
            holder = beat.lock_of(session).holder
            dead = holder if holders.has_ended(holder) else None
            if not beat.is_free(session, dead=dead):
                return
        before = time.monotonic()
        with transaction() as session:
            hold = beat.take(session, self._holder, TTL, dead=dead, above=self._above)
            if hold is not None:
                beat.declare(session, self._declared())
        if hold is None:
            return
        self.sent_until = hold.sent_until
        self._read_timetable()
        self._hold = hold
        self._be_sure_from(before)
        log.info("This beat is the active one (token %d, after %r)", hold.token, holder)

    def _renew(self, hold: Hold) -> None:
        before = time.monotonic()
        with transaction() as session:
            renewed = beat.renew(session, hold, TTL, self.sent_until)
        if renewed:
            self._be_sure_from(before)
        else:
            log.warning("Another beat has taken over; this one waits")
            self.drop()

    def _be_sure_from(self, before: float) -> None:
        self._sure_until = before + TTL.total_seconds() - MARGIN_S

    def _read_timetable(self) -> None:
        with reading() as session:
            found = beat.fingerprint(session)
            if found == self._print:
                return
            rows = [row for row in beat.timetable(session) if _is_sound(row)]
        entries = (
            Entry(row.name, row.task, row.interval_s, row.kwargs, row.catch_up) for row in rows
        )
        self.timetable = Timetable(tuple(entries), {row.name: row.since for row in rows})
        self._print = found


def _is_sound(row: BeatEntry) -> bool:
    # The table is open to any hand, and one row written wrongly must not stop all the others.
    sound = row.interval_s > 0 and isinstance(row.kwargs, dict)
    if not sound:
        log.warning("The entry %s of the timetable cannot be used; correct its row", row.name)
    return sound

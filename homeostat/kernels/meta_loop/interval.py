"""An entry's interval as an effect that is read back and can be undone."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store.beat import BeatEntry
from homeostat.supervision.ports import Timetable


class Interval:
    """An entry's interval as an effect; it is read from the table and not from memory."""

    def __init__(
        self, session: Session, timetable: Timetable, entry: str, interval_s: float, actor: str
    ) -> None:
        """Take whose transaction and whose timetable, what is to be changed, and to what (s)."""
        self._session, self._timetable, self._actor = session, timetable, actor
        self._entry, self._interval_s = entry, interval_s

    def read(self) -> dict[str, JsonValue]:
        """Return the interval in force; None where there is no such entry."""
        statement = select(BeatEntry.interval_s).where(BeatEntry.name == self._entry)
        return {"interval_s": self._session.scalar(statement)}

    def act(self) -> None:
        """Set it."""
        self._set(self._interval_s)

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        """Set it as it was before."""
        interval_s = before["interval_s"]
        if isinstance(interval_s, int | float):
            self._set(interval_s)

    def _set(self, interval_s: float) -> None:
        with self._session.begin_nested():
            row = self._timetable.set_interval(
                self._session, self._entry, interval_s, actor=self._actor
            )
        self._session.refresh(row)

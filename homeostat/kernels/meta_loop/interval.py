"""An entry's interval as an effect that is read back and can be undone."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store import beat
from homeostat.store.beat import BeatEntry


class Interval:
    """An entry's interval as an effect; it is read from the table and not from memory."""

    def __init__(self, session: Session, entry: str, interval_s: float) -> None:
        """Take what is to be changed, in whose transaction, and into what (seconds)."""
        self._session, self._entry, self._interval_s = session, entry, interval_s

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
            row = beat.set_interval(self._session, self._entry, interval_s)
            self._session.flush()
        self._session.refresh(row)

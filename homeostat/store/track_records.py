"""Track records: how often an action under one signature was proven to work, or failed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime


class TrackRecord(Base):
    """Proven outcomes of one action for one signature."""

    __tablename__ = "track_records"

    action: Mapped[str] = mapped_column(String(128), primary_key=True)
    signature: Mapped[str] = mapped_column(String(255), primary_key=True)
    successes: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    #: Successes since the last failure: what was proven counts only until it fails.
    in_row: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


def note(session: Session, action: str, signature: str, *, succeeded: bool) -> TrackRecord:
    """Count one proven outcome and return the record."""
    record = session.get(TrackRecord, (action, signature), with_for_update=True)
    if record is None:
        record = TrackRecord(action=action, signature=signature, successes=0, failures=0, in_row=0)
        session.add(record)
    if succeeded:
        record.successes += 1
        record.in_row += 1
    else:
        record.failures += 1
        record.in_row = 0
    record.updated_at = utcnow()
    session.flush()
    return record


def successes_in_row(session: Session, action: str, signature: str) -> int:
    """Return how often the action worked for the signature since it last failed."""
    record = session.get(TrackRecord, (action, signature))
    return record.in_row if record else 0

"""The beat's lock and the timetable in force.

Due times are a grid that every process computes alike (`homeostat.supervision.cadence`), so one
moment says what has been sent: every tick due until `BeatLock.sent_until` was sent or given up.
A beat that takes over goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, String, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.store.base import JSON, Base, UtcDateTime

#: The one row of the lock; the migration writes it.
LOCK = "beat"
#: Where an entry comes from: the shipped table, a plugin's spec, or added while running.
SHIPPED, PLUGIN, ADDED = "shipped", "plugin", "added"


class UnknownEntryError(HomeostatError):
    """No entry of the timetable has that name; beat_schedule.py and the plugins declare them."""

    exit_code = 64


class BeatLock(Base):
    """Who is the active beat, until when, and what was sent."""

    __tablename__ = "beat_lock"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(255), default="")
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    renewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BeatEntry(Base):
    """One entry of the timetable in force.

    `declared_s` is what its source declares, `interval_s` what holds now: a change made while
    running outlasts a restart, until the declaration itself changes. The grid of `interval_s`
    holds since `since`.
    """

    __tablename__ = "beat_entries"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    task: Mapped[str] = mapped_column(String(255))
    interval_s: Mapped[float]
    declared_s: Mapped[float]
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    catch_up: Mapped[bool] = mapped_column(default=True)
    source: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


@dataclass(frozen=True)
class Hold:
    """The lock as its holder knows it; a later holder's `token` is always greater."""

    holder: str
    token: int
    sent_until: datetime | None


def lock_of(session: Session) -> BeatLock:
    """Return the lock's row."""
    return session.scalars(select(BeatLock).where(BeatLock.name == LOCK)).one()


def is_free(session: Session, *, dead: str | None = None) -> bool:
    """Return whether the lock may be taken: run out, given back, or held by `dead`."""
    return _free(lock_of(session), _now(session), dead)


def take(
    session: Session, holder: str, ttl: timedelta, *, dead: str | None = None, above: int = 0
) -> Hold | None:
    """Take the lock for `ttl`, or return None where another holds it.

    `dead` is a holder of which the caller knows that its process has ended, and `above` a token
    that the broker has seen.
    """
    statement = select(BeatLock).where(BeatLock.name == LOCK).with_for_update()
    row = session.scalars(statement.execution_options(populate_existing=True)).one()
    now = _now(session)
    if not _free(row, now, dead):
        return None
    row.holder = holder
    # Milliseconds, so that a token stays greater than those of a database that was thrown away.
    row.token = max(row.token + 1, above + 1, int(now.timestamp() * 1000))
    row.renewed_at = now
    row.expires_at = now + ttl
    return Hold(holder, row.token, row.sent_until)


def renew(session: Session, hold: Hold, ttl: timedelta, sent_until: datetime | None) -> bool:
    """Hold the lock for another `ttl` and note what was sent; False where it is another's."""
    now = _now(session)
    return _update(session, hold, renewed_at=now, expires_at=now + ttl, sent_until=sent_until)


def release(session: Session, hold: Hold, sent_until: datetime | None) -> bool:
    """Give the lock back, so that another beat need not wait; False where it is another's."""
    return _update(session, hold, holder="", expires_at=None, sent_until=sent_until)


def timetable(session: Session) -> Sequence[BeatEntry]:
    """Return the entries in force, by name."""
    return session.scalars(select(BeatEntry).order_by(BeatEntry.name)).all()


def fingerprint(session: Session) -> tuple[Any, ...]:
    """Return a value that differs once the timetable has changed, by whatever hand."""
    columns = (
        func.count(),
        func.sum(BeatEntry.interval_s),
        func.max(BeatEntry.changed_at),
    )
    return tuple(session.execute(select(*columns).select_from(BeatEntry)).one())


def declare(session: Session, declared: Sequence[BeatEntry]) -> None:
    """Bring the table to what is declared now: new ones in, gone ones out.

    Entries that were added while running stay, and so does an interval that was changed while
    running, unless its declaration has changed since.
    """
    rows = {row.name: row for row in timetable(session)}
    names = {entry.name for entry in declared}
    for name, row in rows.items():
        if name not in names and row.source != ADDED:
            session.delete(row)
    for entry in declared:
        known = rows.get(entry.name)
        if known is None:
            session.add(entry)
        elif _facts(known) != _facts(entry):
            _redeclare(known, entry)


def set_interval(session: Session, name: str, interval_s: float) -> BeatEntry:
    """Change an entry's interval; the running beat takes it up within seconds.

    Raises UnknownEntryError, and ValueError unless `interval_s` is positive.
    """
    if interval_s <= 0:
        raise ValueError(f"An interval must be positive, and is {interval_s} s.")
    row = session.get(BeatEntry, name)
    if row is None:
        raise UnknownEntryError
    if row.interval_s != interval_s:
        row.interval_s = interval_s
        row.since = row.changed_at = utcnow()
    return row


def _facts(row: BeatEntry) -> tuple[Any, ...]:
    return (row.task, row.declared_s, row.kwargs, row.catch_up, row.source)


def _redeclare(row: BeatEntry, entry: BeatEntry) -> None:
    now = utcnow()
    if row.declared_s != entry.declared_s:
        row.interval_s = row.declared_s = entry.declared_s
        row.since = now
    row.task, row.kwargs, row.catch_up = entry.task, entry.kwargs, entry.catch_up
    row.source = entry.source
    row.changed_at = now


def _free(row: BeatLock, now: datetime, dead: str | None) -> bool:
    return not row.holder or row.expires_at is None or row.expires_at < now or row.holder == dead


def _update(session: Session, hold: Hold, **values: Any) -> bool:
    if values["sent_until"] is None:
        del values["sent_until"]
    statement = (
        update(BeatLock)
        .where(BeatLock.name == LOCK, BeatLock.token == hold.token, BeatLock.holder == hold.holder)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return bool(result.rowcount == 1)


def _now(session: Session) -> datetime:
    """Return the server's own time, because beats may stand on hosts whose clocks differ."""
    if session.get_bind().dialect.name != "postgresql":
        return utcnow()
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment

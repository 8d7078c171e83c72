"""The outbox: one row per unit of work that matters, written in the transaction of its cause.

A message is only a hint that a row wants work. The worker checks the row before it works and
marks it done in the transaction of the effect, so a lost message loses nothing (the sweeper
sends it again) and a doubled one does nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import JsonValue
from sqlalchemy import Index, String, and_, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime
from homeostat.store.rows import insert_into

#: The first wait before a job is sent again; it doubles with each send up to the longest.
RESEND_FIRST = timedelta(seconds=5)
RESEND_LONGEST = timedelta(minutes=5)
#: A job sent this often without an end is poison: it is quarantined for a person to look at.
MOST_SENDS = 8


class Backlog(NamedTuple):
    """Open jobs of one queue and priority that are due: never sent, or to be sent again."""

    queue: str
    priority: int
    again: bool


class Waiting(NamedTuple):
    """Jobs of one queue that wait: how many, and for how many seconds the oldest has."""

    jobs: int
    oldest_s: float


class JobState(StrEnum):
    """Where a job stands; DONE, FAILED and QUARANTINED are ends."""

    PENDING = "pending"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"


OPEN_STATES = (JobState.PENDING, JobState.SENT)


class Job(Base):
    """One unit of work: the task to run, its arguments, and what became of it."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_due", "state", "send_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    natural_key: Mapped[str] = mapped_column(String(255), unique=True)
    task: Mapped[str] = mapped_column(String(255))
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON)
    queue: Mapped[str] = mapped_column(String(64))
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default=JobState.PENDING)
    sends: Mapped[int] = mapped_column(default=0)
    send_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    #: From when on it is to be done: its making, or later; a worker before this column leaves none.
    wanted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None]
    #: The worker at long work on it; a worker before this column leaves none.
    holder: Mapped[str | None] = mapped_column(String(255))


def enqueue(
    session: Session,
    task: str,
    kwargs: Mapping[str, JsonValue],
    *,
    queue: str,
    priority: int = 5,
    natural_key: str | None = None,
    due_at: datetime | None = None,
) -> str | None:
    """Write a job row in the caller's transaction and return its id.

    `priority` is the business priority, 10 critical to 0 idle. Where a job of the same
    `natural_key` exists already, nothing is written and None is returned. The task base class
    sends the new rows of a session after its commit; the sweeper sends what was missed, and
    what is wanted later (`due_at`).
    """
    job_id = new_id()
    now = utcnow()
    statement = (
        insert_into(session, Job)
        .values(
            id=job_id,
            natural_key=natural_key or job_id,
            task=task,
            kwargs=dict(kwargs),
            queue=queue,
            priority=priority,
            state=JobState.PENDING,
            sends=0,
            send_at=due_at or now,
            created_at=now,
            wanted_at=due_at or now,
        )
        .on_conflict_do_nothing(index_elements=["natural_key"])
        .returning(Job.id)
    )
    if session.execute(statement).scalar() is None:
        return None
    if due_at is None:
        session.info.setdefault("jobs_to_send", []).append(job_id)
    return job_id


def put_off(session: Session, job_id: str, until: datetime) -> bool:
    """Have an open job done again at `until`: a further round, not a message that was lost."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.state.in_(OPEN_STATES))
        .values(state=JobState.PENDING, sends=0, send_at=until, wanted_at=until, holder=None)
    )
    return _changed(session, statement)


def due(session: Session, *, limit: int, backlog: Backlog | None = None) -> Sequence[Job]:
    """Return the open jobs whose time to be sent (again) has come, most urgent first."""
    statement = _due(select(Job)).order_by(Job.priority.desc(), Job.send_at).limit(limit)
    if backlog is not None:
        statement = statement.where(
            Job.queue == backlog.queue,
            Job.priority == backlog.priority,
            (Job.sends > 0) if backlog.again else (Job.sends == 0),
        )
    return session.scalars(statement).all()


def backlogs(session: Session) -> list[Backlog]:
    """Return the kinds of jobs that are due, most urgent first."""
    again = (Job.sends > 0).label("again")
    statement = _due(select(Job.queue, Job.priority, again)).distinct()
    rows = session.execute(statement)
    found = [Backlog(queue, priority, bool(sent)) for queue, priority, sent in rows]
    return sorted(found, key=lambda backlog: (-backlog.priority, backlog.again, backlog.queue))


def _due(statement: Any) -> Any:  # any SELECT statement
    return statement.where(Job.state.in_(OPEN_STATES), Job.send_at <= utcnow())


def mark_sent(session: Session, job: Job) -> JobState | None:
    """Note that `job` is about to be sent: SENT; None where another process did so first.

    The next send is put off by the doubled back-off. A job that was sent too often is given up:
    QUARANTINED is returned, and the caller reports it.
    """
    wait = min(RESEND_FIRST * 2**job.sends, RESEND_LONGEST)
    state = JobState.SENT if job.sends < MOST_SENDS else JobState.QUARANTINED
    statement = (
        update(Job)
        .where(Job.id == job.id, Job.sends == job.sends, Job.state.in_(OPEN_STATES))
        .values(state=state, sends=job.sends + 1, send_at=utcnow() + wait)
    )
    return state if _changed(session, statement) else None


def unmark_sent(session: Session, job: Job) -> bool:
    """Take back `mark_sent`: the broker did not take the message, so it does not count as sent."""
    statement = (
        update(Job)
        .where(Job.id == job.id, Job.sends == job.sends + 1, Job.state == JobState.SENT)
        .values(
            state=JobState.SENT if job.sends else JobState.PENDING,
            sends=job.sends,
            send_at=utcnow() + RESEND_FIRST,
        )
    )
    return _changed(session, statement)


def start(
    session: Session, job_id: str, *, busy_for: timedelta | None = None, holder: str | None = None
) -> Job | None:
    """Lock the job's row for work and return it; None where it has ended already.

    The caller does the effect and calls `finish` in the same transaction. On SQLite the
    transaction holds the write lock; on PostgreSQL the row is locked, and a second worker waits
    here and then sees the end.

    Long work cannot hold a lock, so its caller commits before it begins and says `busy_for`, its
    hard time limit: until then the sweeper takes the job to be at work and does not send it
    again, unless the `holder`, the worker that is at it, has ended.
    """
    statement = select(Job).where(Job.id == job_id).with_for_update()
    job = session.scalar(statement.execution_options(populate_existing=True))
    if job is None or job.state not in OPEN_STATES:
        return None
    job.started_at = utcnow()
    if busy_for is not None:
        job.send_at = max(job.send_at, job.started_at + busy_for)
        job.holder = holder
    return job


def holders(session: Session) -> Sequence[str]:
    """Return the workers that are at long work, as far as the rows know."""
    names = session.scalars(select(Job.holder).where(_held()).distinct())
    return [name for name in names if name]


def give_back(session: Session, holder: str) -> int:
    """Have the long work of a worker that has ended sent again; returns how many jobs that were."""
    statement = update(Job).where(_held(), Job.holder == holder)
    values = {"send_at": utcnow(), "holder": None}
    result: Any = session.execute(
        statement.values(values).execution_options(synchronize_session=False)
    )
    return int(result.rowcount)


def _held() -> Any:  # a condition on rows
    return and_(Job.state.in_(OPEN_STATES), Job.send_at > utcnow(), Job.holder.is_not(None))


def finish(session: Session, job_id: str, *, error: str | None = None) -> bool:
    """End an open job as done, or as failed with its error; False where it had ended already."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.state.in_(OPEN_STATES))
        .values(
            state=JobState.DONE if error is None else JobState.FAILED,
            ended_at=utcnow(),
            error=error,
        )
    )
    return _changed(session, statement)


def wanted_since() -> Any:  # a SELECT's column
    """Return the column that says from when on a job is to be done."""
    return func.coalesce(Job.wanted_at, Job.created_at)


def waiting(session: Session) -> dict[str, Waiting]:
    """Return queue → the jobs that nobody has taken up though they are wanted by now.

    What is wanted later is not waited for, and neither is what a worker is at.
    """
    now = utcnow()
    since = wanted_since()
    statement = (
        select(Job.queue, func.count(), func.min(since))
        .where(Job.state.in_(OPEN_STATES), since <= now)
        .where(Job.started_at.is_(None) | (Job.started_at < since))
        .group_by(Job.queue)
    )
    return {
        queue: Waiting(int(count), (now - oldest).total_seconds())
        for queue, count, oldest in session.execute(statement)
    }


def counts(session: Session) -> dict[str, int]:
    """Return how many jobs stand in each state."""
    rows = session.execute(select(Job.state, func.count()).group_by(Job.state))
    return {state: int(count) for state, count in rows}


def _changed(session: Session, statement: Any) -> bool:  # any UPDATE statement
    result: Any = session.execute(statement.execution_options(synchronize_session=False))
    return bool(result.rowcount == 1)

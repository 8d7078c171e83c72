"""Events that go with a transaction: told on the bus once it is committed, and not otherwise.

`tell` writes an outbox row in the caller's transaction; the task `upkeep.publish` puts the event
on the bus under the row's id. A bus that is away loses nothing, and what comes twice carries the
same id, so a consumer that looks at ids acts once. The topic's file says who may tell what; a
refusal is the task's failure, and so an incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.store import jobs

PUBLISH = "upkeep.publish"
_QUEUE = "upkeep"
_TO_SEND = "jobs_to_send"


def tell(
    session: Session,
    topic: str,
    payload: Mapping[str, JsonValue],
    *,
    publisher: str,
    key: str = "",
    once: str = "",
) -> None:
    """Have an event published after the commit; events of one `once` are told a single time."""
    jobs.enqueue(
        session,
        PUBLISH,
        {"topic": topic, "payload": dict(payload), "publisher": publisher, "key": key},
        queue=_QUEUE,
        natural_key=f"event:{topic}:{once}" if once else None,
    )


@contextmanager
def undone(session: Session) -> Iterator[None]:
    """A savepoint for probes: at its end it is rolled back, and nothing of it is sent."""
    sends = len(session.info.get(_TO_SEND, ()))
    savepoint = session.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()
        del session.info.get(_TO_SEND, [])[sends:]

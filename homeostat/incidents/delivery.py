"""Sending notices through apprise: mail, Slack, webhooks and whatever else it knows.

A notice is claimed by a compare-and-set, sent outside of any transaction, and marked. Of two
workers one sends; a worker that dies between sending and marking is the one case in which
somebody is told twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.incidents.redaction import redact
from homeostat.settings import settings
from homeostat.store.incidents import Notice

#: A claim that was not followed by an end within this time is taken to be lost.
CLAIM = timedelta(seconds=60)
MOST_ATTEMPTS = 10

_TYPES = {"resolved": "success", "opened": "failure", "escalated": "failure"}


class DeliveryError(HomeostatError):
    """The notice was not accepted by every receiver; check HOMEOSTAT_NOTIFY_URLS."""

    exit_code = 69


@dataclass(frozen=True)
class Outgoing:
    """A claimed notice, as it goes out."""

    notice_id: str
    kind: str
    title: str
    body: str


def claim(session: Session, notice_id: str) -> Outgoing | None:
    """Claim an unsent notice; None where it was sent, is being sent, or was tried too often."""
    now = utcnow()
    statement = (
        update(Notice)
        .where(
            Notice.id == notice_id,
            Notice.sent_at.is_(None),
            Notice.attempts < MOST_ATTEMPTS,
            or_(Notice.claimed_at.is_(None), Notice.claimed_at < now - CLAIM),
        )
        .values(claimed_at=now, attempts=Notice.attempts + 1)
        .returning(Notice.id, Notice.kind, Notice.title, Notice.body)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else Outgoing(*row)


def is_sent(session: Session, notice_id: str) -> bool:
    """Return whether nothing is left to do: it was sent, or is gone."""
    unsent = select(Notice.id).where(Notice.id == notice_id, Notice.sent_at.is_(None))
    return session.scalar(unsent) is None


def send(outgoing: Outgoing, urls: Sequence[str] | None = None) -> None:
    """Send a notice to all receivers; raises DeliveryError where one did not take it.

    Slow: never call it inside a transaction.
    """
    import apprise

    receivers = apprise.Apprise()
    for url in settings().notify_urls.split() if urls is None else urls:
        if not receivers.add(url):
            raise DeliveryError(
                "HOMEOSTAT_NOTIFY_URLS holds an address that apprise does not understand: "
                f"{redact(url)}."
            )
    if not len(receivers):
        raise DeliveryError("No receiver is set; put apprise addresses in HOMEOSTAT_NOTIFY_URLS.")
    accepted = receivers.notify(
        title=redact(outgoing.title),
        body=redact(outgoing.body),
        notify_type=_TYPES.get(outgoing.kind, "warning"),
    )
    if not accepted:
        raise DeliveryError


def mark_sent(session: Session, notice_id: str) -> bool:
    """Note that a claimed notice was accepted; False where it was marked before."""
    return _mark(session, notice_id, {"sent_at": utcnow(), "error": None})


def mark_failed(session: Session, notice_id: str, error: str) -> bool:
    """Give a claimed notice back, with why it was not accepted."""
    return _mark(session, notice_id, {"claimed_at": None, "error": error[:500]})


def _mark(session: Session, notice_id: str, values: dict[str, Any]) -> bool:
    statement = (
        update(Notice)
        .where(Notice.id == notice_id, Notice.sent_at.is_(None))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    result: Any = session.execute(statement)
    return bool(result.rowcount == 1)

"""Moving a message that cannot be worked on aside, whole, and making it an incident."""

from __future__ import annotations

import logging

from redis import RedisError

from homeostat.errors import HomeostatError
from homeostat.incidents.failure import Severity
from homeostat.settings import settings
from homeostat.store.redis import client
from homeostat.supervision import poison
from workers import queues
from workers.reporting import report_failure

log = logging.getLogger(__name__)

#: This much of a message is named in the log where even the quarantine cannot be reached.
_LOGGED_BYTES = 4096


def set_aside(raw: bytes, *, queue: str, why: str, task: str | None) -> None:
    """Put a message into quarantine and report it; never raises, so that the worker lives."""
    try:
        # The quarantine stands on the server that a remedy and `homeostat status` look at.
        if queues.is_redis(settings().broker):
            with poison.connect(settings()) as broker:
                broker.lpush(poison.QUARANTINE, raw)
        else:
            client().lpush(poison.QUARANTINE, raw)
    except (HomeostatError, RedisError):
        log.exception("Not quarantined, so it stands here: %r", raw[:_LOGGED_BYTES])
    report_failure(poison.failure_of(queue, why, task), severity=Severity.HIGH)

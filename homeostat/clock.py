"""Time and identity: aware UTC timestamps and time-ordered ids."""

from __future__ import annotations

from datetime import UTC, datetime

import uuid_utils


def utcnow() -> datetime:
    """Return the present moment as an aware UTC datetime."""
    return datetime.now(UTC)


def new_id() -> str:
    """Return a UUIDv7 as text: unique, and sorted by time of creation."""
    return str(uuid_utils.uuid7())


def aware(moment: datetime) -> datetime:
    """Return `moment` as aware UTC; a naive one is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def from_iso(text: str) -> datetime:
    """Parse an ISO 8601 timestamp into aware UTC; raises ValueError on anything else."""
    return aware(datetime.fromisoformat(text))

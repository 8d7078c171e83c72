"""Signed checkpoints of the audit chain: how far it reached, and under which hash."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import Base, UtcDateTime


class AuditCheckpoint(Base):
    """The chain's state at one row, signed with the stack's key."""

    __tablename__ = "audit_checkpoints"

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    row_hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    signature: Mapped[str] = mapped_column(String(64))


def sign(key: bytes, sequence: int, row_hash: str) -> str:
    """Return the HMAC-SHA256 over a checkpoint, in hex."""
    return hmac.new(key, f"audit:{sequence}:{row_hash}".encode(), hashlib.sha256).hexdigest()


def newest(session: Session) -> AuditCheckpoint | None:
    """Return the newest checkpoint."""
    statement = select(AuditCheckpoint).order_by(AuditCheckpoint.sequence.desc()).limit(1)
    return session.scalar(statement)

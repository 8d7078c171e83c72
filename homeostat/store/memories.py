"""Memories: what happened and how it ended, one row per kind and signature.

A memory knows where it comes from: each source (a table and a row's id) is taken in once, and
its row says which memory it went into.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime


class Memory(Base):
    """One remembered thing; `times` counts how often it happened."""

    __tablename__ = "memories"
    __table_args__ = (
        UniqueConstraint("kind", "signature", name="uq_memories_kind_signature"),
        Index("ix_memories_last_at", "last_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(32))
    signature: Mapped[str] = mapped_column(String(128))
    text: Mapped[str]
    #: How it ended the last time: `worked`, `failed`, or empty where that is not known.
    outcome: Mapped[str] = mapped_column(String(32), default="")
    times: Mapped[int] = mapped_column(default=0)
    worked: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    first_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Provenance(Base):
    """One source that a memory was made from."""

    __tablename__ = "memory_sources"

    #: `table:id`, and for what can happen again, `table:id:n`.
    source: Mapped[str] = mapped_column(String(190), primary_key=True)
    memory_id: Mapped[str] = mapped_column(
        ForeignKey("memories.id", ondelete="CASCADE"), index=True
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)


def remember(
    session: Session,
    *,
    kind: str,
    signature: str,
    text: str,
    source: str,
    outcome: str = "",
    at: datetime | None = None,
) -> Memory | None:
    """Take one source in and return its memory; None where it was taken in before.

    What has the same kind and signature is one memory: it is counted, not repeated.
    """
    if session.get(Provenance, source) is not None:
        return None
    moment = at or utcnow()
    memory = session.scalar(
        select(Memory).where(Memory.kind == kind, Memory.signature == signature).with_for_update()
    )
    if memory is None:
        memory = Memory(kind=kind, signature=signature, text=text, times=0, worked=0, failed=0)
        memory.first_at = memory.last_at = moment
        session.add(memory)
        session.flush()
    memory.times += 1
    memory.worked += outcome == "worked"
    memory.failed += outcome == "failed"
    if moment >= memory.last_at:
        memory.last_at, memory.text = moment, text
        memory.outcome = outcome or memory.outcome
    session.add(Provenance(source=source, memory_id=memory.id, at=moment))
    session.flush()
    return memory


def provenance(session: Session, memory_id: str) -> Sequence[Provenance]:
    """Return the sources of a memory, oldest first."""
    statement = select(Provenance).where(Provenance.memory_id == memory_id)
    return session.scalars(statement.order_by(Provenance.at, Provenance.source)).all()


def of_ids(session: Session, ids: Sequence[str]) -> dict[str, Memory]:
    """Return the memories of those ids."""
    return {m.id: m for m in session.scalars(select(Memory).where(Memory.id.in_(ids)))}


def of_signature(session: Session, signature: str) -> Sequence[Memory]:
    """Return the memories of a signature, of every kind."""
    return session.scalars(select(Memory).where(Memory.signature == signature)).all()


def older_than(session: Session, kind: str, before: datetime) -> Sequence[Memory]:
    """Return the memories of a kind that were last touched before then."""
    return session.scalars(select(Memory).where(Memory.kind == kind, Memory.last_at < before)).all()


def forget(session: Session, memory_id: str) -> None:
    """Remove a memory with its sources."""
    session.execute(delete(Provenance).where(Provenance.memory_id == memory_id))
    session.execute(delete(Memory).where(Memory.id == memory_id))


def count(session: Session) -> int:
    """Return how many memories there are."""
    return int(session.scalar(select(func.count()).select_from(Memory)) or 0)

"""Conversations: what was said, and which approval waits for its read-back to be confirmed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import Base, UtcDateTime


class Utterance(Base):
    """One turn: what a speaker said and what was answered."""

    __tablename__ = "utterances"
    __table_args__ = (Index("ix_utterances_speaker", "speaker", "at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    speaker: Mapped[str] = mapped_column(String(128))
    said: Mapped[str]
    intent: Mapped[str] = mapped_column(String(32))
    answer: Mapped[str]
    #: The approval that this turn asked the speaker to confirm, and the phrase that confirms it.
    pending: Mapped[str] = mapped_column(String(64), default="")
    phrase: Mapped[str] = mapped_column(String(190), default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


def last_of(session: Session, speaker: str) -> Utterance | None:
    """Return the speaker's newest turn."""
    statement = select(Utterance).where(Utterance.speaker == speaker)
    return session.scalar(statement.order_by(Utterance.at.desc(), Utterance.id.desc()).limit(1))

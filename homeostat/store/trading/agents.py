"""What is known of the models: their signals' outcomes, their artefacts, and their retraining.

Shares and probabilities are fractions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class ModelRecord(Base):
    """A model's persisted counts and what the supervisor concluded from them."""

    __tablename__ = "model_records"

    model: Mapped[str] = mapped_column(String(48), primary_key=True)
    longs: Mapped[int] = mapped_column(default=0)
    shorts: Mapped[int] = mapped_column(default=0)
    #: Signals of either side, each worth less with every batch that follows it.
    recent_longs: Mapped[float] = mapped_column(default=0.0, server_default="0")
    recent_shorts: Mapped[float] = mapped_column(default=0.0, server_default="0")
    #: The signals of late that `blocked_side` was concluded from; None where nobody has judged.
    judged_longs: Mapped[float | None]
    judged_shorts: Mapped[float | None]
    outcomes: Mapped[int] = mapped_column(default=0)
    wins: Mapped[int] = mapped_column(default=0)
    sum_r: Mapped[float] = mapped_column(default=0.0)
    gross_profit: Mapped[float] = mapped_column(default=0.0)
    gross_loss: Mapped[float] = mapped_column(default=0.0)
    brier: Mapped[float | None]
    calibration_error: Mapped[float | None]
    rank: Mapped[float | None]
    blocked_side: Mapped[int] = mapped_column(default=0)
    health: Mapped[str] = mapped_column(String(12), default="UNKNOWN")
    drift: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    abstained: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class ModelOutcome(Base):
    """A signal's delayed label: what the trade that followed it came to, in R."""

    __tablename__ = "model_outcomes"
    __table_args__ = (Index("ix_model_outcomes_model_at", "model", "at"),)

    decision_id: Mapped[str] = mapped_column(String(96), primary_key=True)
    model: Mapped[str] = mapped_column(String(48))
    symbol: Mapped[str] = mapped_column(String(48))
    side: Mapped[int]
    confidence: Mapped[float]
    won: Mapped[bool]
    r: Mapped[float]
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class ModelArtifact(Base):
    """One trained model, whole: its bytes, their digest, and how it was judged."""

    __tablename__ = "model_artifacts"
    __table_args__ = (Index("ix_model_artifacts_name_state", "name", "state"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(48))
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(12))
    trained_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    samples: Mapped[int] = mapped_column(default=0)


class ModelAlias(Base):
    """Which artefact a model's name stands for now, and which it stood for before."""

    __tablename__ = "model_aliases"

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    artifact_id: Mapped[str] = mapped_column(ForeignKey("model_artifacts.id"))
    previous_id: Mapped[str | None] = mapped_column(String(36))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class RetrainingDecision(Base):
    """Whether a model was retrained and promoted, by which trigger, and why or why not."""

    __tablename__ = "retraining_decisions"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)
    model: Mapped[str] = mapped_column(String(48))
    triggers: Mapped[list[Any]] = mapped_column(JSON)
    verdict: Mapped[str] = mapped_column(String(16))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

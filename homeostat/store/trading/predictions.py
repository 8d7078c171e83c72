"""What a model that is too large for a ticking worker said of every symbol, bar by bar."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class ModelPrediction(Base):
    """One batch of predictions: of which artefact, as of which bar (opening, epoch seconds).

    `rises` are the probabilities of a rise by symbol, `abstained` the reason of each other one.
    """

    __tablename__ = "model_predictions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    bar: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(String(48))
    rises: Mapped[dict[str, Any]] = mapped_column(JSON)
    abstained: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)


def newest_prediction(session: Session, sha256: str) -> ModelPrediction | None:
    """Return the newest batch of an artefact, however old it is."""
    statement = select(ModelPrediction).where(ModelPrediction.sha256 == sha256)
    return session.scalar(statement.order_by(ModelPrediction.bar.desc()).limit(1))

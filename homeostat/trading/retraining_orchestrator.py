"""Decides what to retrain, trains it, and promotes it only with evidence; or rolls it back.

The challenger must be better than luck, than the champion and than doing nothing, and must have
been watched for a while (shadow) before its name points to it. A rollback points the name to the
older artefact, whose bytes are still there and still have their digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.store import trading as store
from homeostat.store.trading import (
    ModelAlias,
    ModelArtifact,
    ModelOutcome,
    ModelRecord,
    RetrainingDecision,
)
from homeostat.trading.market import port
from homeostat.trading.signals import BASELINE, EwmaModel

NEW_SAMPLES = 50
OLDEST = timedelta(days=7)
LEAST_DEFLATED_SHARPE = 0.95
#: How long a challenger is watched before it may be promoted.
SHADOW = timedelta(hours=1)
#: Bars that a training looks back: a day and a half.
TRAINING_BARS = 2_160
CHAMPION, CHALLENGER, RETIRED, REFUSED = "CHAMPION", "CHALLENGER", "RETIRED", "REFUSED"


class ArtifactError(HomeostatError):
    """A model's artefact is missing or does not match its digest."""


@dataclass(frozen=True)
class Standing:
    """What is known of a model when it is asked whether to retrain it."""

    health: str = "UNKNOWN"
    drifted: bool = False
    regime_changed: bool = False
    age: timedelta = timedelta(0)
    new_samples: int = 0


def triggers(standing: Standing) -> list[str]:
    """Return why the model should be retrained, most urgent first; empty: not now."""
    reasons = {
        "HEALTH_CRITICAL": standing.health == "CRITICAL",
        "DRIFT": standing.drifted,
        "HEALTH_DEGRADED": standing.health == "DEGRADED",
        "REGIME_CHANGE": standing.regime_changed,
        "AGE": standing.age >= OLDEST,
        "NEW_SAMPLES": standing.new_samples >= NEW_SAMPLES,
    }
    return [reason for reason, holds in reasons.items() if holds]


def refusal(
    challenger: Mapping[str, float], champion: Mapping[str, float] | None, shadow: timedelta
) -> str:
    """Return why the challenger is not promoted, or an empty text.

    Both are given by `Trained.metrics`; the naive baseline earns nothing and says one half, whose
    Brier loss is a quarter.
    """
    was = champion or {"brier": 0.25, "calibration_error": 1.0}
    tests = (
        ("its deflated Sharpe ratio is below 0.95", challenger["deflated_sharpe"] < 0.95),
        ("it does not beat the naive baseline", challenger["mean_return"] <= 0),
        ("its Brier loss is no better than saying one half", challenger["brier"] > 0.25),
        ("its Brier loss is worse than the champion's", challenger["brier"] > was["brier"]),
        (
            "its calibration is worse than the champion's",
            challenger["calibration_error"] > was["calibration_error"],
        ),
        ("its shadow period is not over", shadow < SHADOW),
    )
    return next((why for why, holds in tests if holds), "")


class RetrainingOrchestrator(Component):
    """Retrains, promotes and rolls back models."""

    spec = ComponentSpec(
        name="retraining_orchestrator",
        wing=Wing.TRADING,
        tier=7,
        summary="Decides what to retrain, trains it, and promotes only what proved better.",
        timeout_s=60.0,
    )

    def champion(self, session: Session, name: str) -> ModelArtifact | None:
        """Return the artefact in service; None where the name has none.

        Raises ArtifactError where its bytes do not match their digest.
        """
        alias = session.get(ModelAlias, name)
        if alias is None:
            return None
        return _whole(session.get(ModelArtifact, alias.artifact_id), name)

    def model(self, session: Session) -> EwmaModel:
        """Return the momentum model in service: the champion, or the untrained one."""
        found = self.champion(session, BASELINE)
        return EwmaModel.of(found.content) if found else EwmaModel()

    def file(
        self, session: Session, name: str, content: bytes, metrics: Mapping[str, float]
    ) -> ModelArtifact:
        """Keep a trained challenger; its shadow period begins now."""
        artifact = ModelArtifact(
            name=name,
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            metrics=dict(metrics),
            state=CHALLENGER,
            trained_at=utcnow(),
            samples=int(metrics.get("samples", 0)),
        )
        session.add(artifact)
        session.flush()
        return artifact

    def consider(self, session: Session, challenger: ModelArtifact) -> str:
        """Promote the challenger, or return why not; the decision is kept either way."""
        champion = self.champion(session, challenger.name)
        why = refusal(
            challenger.metrics,
            champion.metrics if champion else None,
            utcnow() - challenger.trained_at,
        )
        waiting = "shadow" in why
        if not why:
            self._promote(session, challenger, champion)
        elif not waiting:
            challenger.state = REFUSED
        verdict = "PROMOTED" if not why else "SHADOW" if waiting else "REFUSED"
        detail = {"challenger": challenger.id, "why": why, **challenger.metrics}
        session.add(
            RetrainingDecision(
                model=challenger.name, triggers=[], verdict=verdict, detail=detail, at=utcnow()
            )
        )
        session.flush()
        return why

    def _promote(
        self, session: Session, challenger: ModelArtifact, champion: ModelArtifact | None
    ) -> None:
        challenger.state = CHAMPION
        alias = session.get(ModelAlias, challenger.name, with_for_update=True)
        if alias is None:
            session.add(ModelAlias(name=challenger.name, artifact_id=challenger.id, at=utcnow()))
        else:
            alias.previous_id, alias.artifact_id = alias.artifact_id, challenger.id
            alias.at = utcnow()
        if champion is not None:
            champion.state = RETIRED
        session.flush()

    def rollback(self, session: Session, name: str) -> ModelArtifact:
        """Point the name to the older artefact and return it; raises ArtifactError without one."""
        alias = session.get(ModelAlias, name, with_for_update=True)
        if alias is None or alias.previous_id is None:
            raise ArtifactError(f"The model {name} has no older artefact to go back to.")
        older = _whole(session.get(ModelArtifact, alias.previous_id), name)
        session.get_one(ModelArtifact, alias.artifact_id).state = RETIRED
        alias.artifact_id, alias.previous_id, alias.at = older.id, None, utcnow()
        older.state = CHAMPION
        detail = {"restored": older.id, "sha256": older.sha256}
        session.add(
            RetrainingDecision(
                model=name, triggers=[], verdict="ROLLED_BACK", detail=detail, at=utcnow()
            )
        )
        session.flush()
        return older

    def standing(self, session: Session, name: str) -> Standing:
        """Return what speaks for or against retraining the model now."""
        record = session.get(ModelRecord, name)
        newest = session.scalar(
            select(func.max(ModelArtifact.trained_at)).where(ModelArtifact.name == name)
        )
        statement = select(func.count()).select_from(ModelOutcome).where(ModelOutcome.model == name)
        if newest is not None:
            statement = statement.where(ModelOutcome.at > newest)
        return Standing(
            health=record.health if record else "UNKNOWN",
            drifted=bool(record and any(record.drift.values())),
            # A model that was never trained is as old as can be.
            age=utcnow() - newest if newest else OLDEST,
            new_samples=int(session.scalar(statement) or 0),
        )

    def review(self, session: Session, name: str) -> RetrainingDecision:
        """Ask whether the model should be retrained now, and keep the answer."""
        standing = self.standing(session, name)
        reasons = triggers(standing)
        decision = RetrainingDecision(
            model=name,
            triggers=reasons,
            verdict="DUE" if reasons else "NOT_NOW",
            detail={"new_samples": standing.new_samples, "health": standing.health},
            at=utcnow(),
        )
        session.add(decision)
        session.flush()
        return decision

    def probe(self, session: Session) -> Evidence:
        """Refuse a planted overfitted challenger, promote a planted better one, roll it back."""
        watch = Stopwatch()
        savepoint = session.begin_nested()
        name = f"probe-{new_id()[-8:]}"
        good = {
            "deflated_sharpe": 0.99,
            "mean_return": 0.01,
            "brier": 0.2,
            "calibration_error": 0.05,
        }
        first, second = (self.file(session, name, text, good) for text in (b"one", b"two"))
        lucky = self.file(session, name, b"three", {**good, "deflated_sharpe": 0.5})
        for artifact in (first, second, lucky):
            artifact.trained_at = utcnow() - SHADOW
        verdicts = [self.consider(session, one) for one in (first, second, lucky)]
        restored = self.rollback(session, name).content
        savepoint.rollback()
        return Evidence(
            claim="a better challenger is promoted, a lucky one refused, a rollback restores bytes",
            passed=verdicts[:2] == ["", ""] and verdicts[2] != "" and restored == b"one",
            observed={"verdicts": list(verdicts), "restored": restored.decode()},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Consider waiting challengers, and train a new one where something calls for it."""
        statement = select(ModelArtifact).where(
            ModelArtifact.name == BASELINE, ModelArtifact.state == CHALLENGER
        )
        waiting = session.scalars(statement).all()
        considered = {one.id: self.consider(session, one) or "promoted" for one in waiting}
        reasons = triggers(self.standing(session, BASELINE))
        trained = None
        if reasons and not waiting:
            trained = self.train(session, due_at, reasons)
        version = store.acknowledge(session, self.spec.full_name)
        return CycleResult(
            work=1 + len(considered) + (trained is not None),
            observed={
                "triggers": list(reasons),
                "considered": dict(considered),
                "trained": trained.metrics if trained else None,
                "directive": version,
            },
        )

    def train(self, session: Session, at: datetime, reasons: list[str]) -> ModelArtifact | None:
        """Train a challenger on the market's bars and keep it; None where they do not suffice."""
        from homeostat.trading.models import training

        panel = port.market(self.context.settings).panel(at, TRAINING_BARS)
        try:
            found = training.train(panel)
        except ValueError as error:
            session.add(
                RetrainingDecision(
                    model=BASELINE, triggers=reasons, verdict="NO_DATA", detail={"why": str(error)}
                )
            )
            return None
        artifact = self.file(session, BASELINE, found.model.content(), found.metrics())
        session.add(
            RetrainingDecision(
                model=BASELINE, triggers=reasons, verdict="TRAINED", detail={"id": artifact.id}
            )
        )
        session.flush()
        return artifact


def _whole(artifact: ModelArtifact | None, name: str) -> ModelArtifact:
    if artifact is None:
        raise ArtifactError(f"The artefact of the model {name} is missing; train it anew.")
    if hashlib.sha256(artifact.content).hexdigest() != artifact.sha256:
        raise ArtifactError(
            f"The artefact of the model {name} is corrupt; roll it back or train it anew."
        )
    return artifact

"""Decides what to retrain, and promotes only with evidence; or rolls back.

The challenger must be better than luck, than the champion and than doing nothing, and must have
been watched for a while (shadow) before its name points to it. Training itself is a job of the
queue `models`; a rollback points the name to the older artefact, whose bytes are still there.
A promotion has governance's leave and is an act under contract, pointed back where it did not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import ActionRefusedError
from homeostat.store import jobs
from homeostat.store import trading as store
from homeostat.store.trading import (
    ModelArtifact,
    RetrainingDecision,
)
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Governance, Verification
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S, Panel
from homeostat.trading.models import artifacts, deep, drift, shadow
from homeostat.trading.models.agent import (
    BASELINE,
    BOOSTED,
    Agent,
    ModelUnavailableError,
)
from homeostat.trading.models.apart import Made
from homeostat.trading.models.placing import PROMOTE, promote, record, refuse
from homeostat.trading.models.promotion import (
    SHADOW,
    SHADOW_LABELS,
    WITHHELD,
    is_waiting,
    refusal,
)
from homeostat.trading.models.standing import Standing, standing_of, triggers

#: The models that are retrained without being asked.
TRAINED = (BASELINE, BOOSTED)
TRAIN_TASK, WATCH_TASK, QUEUE = "models.train", "models.watch", "models"
ACTOR = "trading.retraining_orchestrator"


def trained() -> tuple[str, ...]:
    """Return the models that are retrained here: the deep ones where the extra is installed."""
    return (*TRAINED, *deep.NAMES) if deep.installed() else TRAINED


class RetrainingOrchestrator(Component):
    """Retrains, promotes and rolls back models."""

    spec = ComponentSpec(
        name="retraining_orchestrator",
        wing=Wing.TRADING,
        tier=7,
        summary="Decides what to retrain, has it trained, and promotes only what proved better.",
        needs=("kernels.governance", "kernels.verification_framework"),
        timeout_s=60.0,
    )

    def model(self, session: Session) -> Agent:
        """Return the model in service: the champions together, or the untrained baseline."""
        return artifacts.in_service(session)

    def file(
        self, session: Session, name: str, content: bytes, metrics: Mapping[str, Any]
    ) -> ModelArtifact:
        """Keep a trained challenger; its shadow period begins now."""
        return artifacts.file(session, name, content, metrics, int(metrics.get("samples", 0)))

    def consider(self, session: Session, challenger: ModelArtifact) -> str:
        """Promote the challenger, or return why not; the decision is kept either way."""
        champion = artifacts.champion(session, challenger.name)
        why = refusal(
            challenger.metrics,
            champion.metrics if champion else None,
            utcnow() - challenger.trained_at,
        )
        if not why:
            why = self._promote(session, challenger)
        elif not is_waiting(why):
            refuse(session, challenger, ACTOR, why)
        verdict = "PROMOTED" if not why else "SHADOW" if is_waiting(why) else "REFUSED"
        detail = {"challenger": challenger.id, "why": why, **_figures(challenger.metrics)}
        self._decided(session, challenger.name, verdict, detail)
        return why

    def _promote(self, session: Session, challenger: ModelArtifact) -> str:
        """Promote under contract, where governance agrees; return why not, or an empty text."""
        verification: Verification = self.need("kernels.verification_framework")
        try:
            return promote(session, challenger, ACTOR, verification)
        except ActionRefusedError as error:
            # The shadow goes on: what is withheld now may be allowed at the next tick.
            return f"{WITHHELD}: {error}"

    def _agrees(self, session: Session) -> bool:
        """Return whether governance lets a challenger go live by itself now."""
        governance: Governance = self.need("kernels.governance")
        return governance.decide(session, action=PROMOTE, risk="medium", actor=ACTOR).allowed

    def _decided(
        self,
        session: Session,
        model: str,
        verdict: str,
        detail: Mapping[str, Any],
        reasons: list[str] | None = None,
    ) -> RetrainingDecision:
        decision = RetrainingDecision(
            model=model, triggers=reasons or [], verdict=verdict, detail=dict(detail), at=utcnow()
        )
        session.add(decision)
        session.flush()
        return decision

    def rollback(self, session: Session, name: str) -> ModelArtifact:
        """Point the name to the older artefact and return it; raises ArtifactError without one."""
        older = artifacts.roll_back(session, name)
        detail = {"restored": older.id, "sha256": older.sha256}
        self._decided(session, name, "ROLLED_BACK", detail)
        record(session, older, ACTOR, "model.rollback", detail, "it was asked for", "rolled back")
        return older

    def standing(self, session: Session, name: str, panel: Panel | None = None) -> Standing:
        """Return what speaks for or against retraining the model now.

        Without a panel nothing is said of the regime.
        """
        return standing_of(session, name, panel)

    def review(self, session: Session, name: str) -> RetrainingDecision:
        """Ask whether the model should be retrained now, and keep the answer."""
        standing = self.standing(session, name)
        reasons = triggers(standing)
        detail = {"new_samples": standing.new_samples, "health": standing.health}
        return self._decided(session, name, "DUE" if reasons else "NOT_NOW", detail, reasons)

    def probe(self, session: Session) -> Evidence:
        """Refuse a planted overfitted challenger, promote a planted better one, roll it back."""
        watch = Stopwatch()
        name = f"probe-{new_id()[-8:]}"
        good = {
            "deflated_sharpe": 0.99,
            "mean_return": 0.01,
            "brier": 0.2,
            "calibration_error": 0.05,
            "shadow_labels": SHADOW_LABELS,
        }
        with undone(session):
            first, second = (self.file(session, name, text, good) for text in (b"one", b"two"))
            lucky = self.file(session, name, b"three", {**good, "deflated_sharpe": 0.5})
            for artifact in (first, second, lucky):
                artifact.trained_at = utcnow() - SHADOW
            agreed = self._agrees(session)
            verdicts = [self.consider(session, one) for one in (first, second, lucky)]
            restored = self.rollback(session, name).content if agreed else b"one"
        # In a mode in which nothing runs by itself, even the better one has to wait.
        waits = all(is_waiting(why) for why in verdicts[:2])
        return Evidence(
            claim="a better challenger is promoted, a lucky one refused, a rollback restores bytes",
            passed=(verdicts[:2] == ["", ""] if agreed else waits)
            and verdicts[2] != ""
            and not is_waiting(verdicts[2])
            and restored == b"one",
            observed={
                "verdicts": list(verdicts),
                "restored": restored.decode(),
                "governance_agrees": agreed,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Consider waiting challengers, and ask for training where something calls for it."""
        panel = port.market(self.context.settings).panel(due_at, shadow.BARS)
        recent = panel.window(len(panel.times) - drift.REGIME_BARS, len(panel.times))
        statement = select(ModelArtifact).where(
            ModelArtifact.name.in_(trained()), ModelArtifact.state == artifacts.CHALLENGER
        )
        waiting = session.scalars(statement).all()
        considered = {}
        for one in waiting:
            try:
                self.watch(session, one, panel)
            except ModelUnavailableError as error:
                considered[one.name] = str(error)
                continue
            considered[one.name] = self.consider(session, one) or "promoted"
        asked = {}
        for name in trained():
            reasons = triggers(self.standing(session, name, recent))
            if reasons and name not in considered and self.ask(session, name, due_at, reasons):
                asked[name] = reasons
        version = store.acknowledge(session, self.spec.full_name)
        return CycleResult(
            work=1 + len(considered) + len(asked),
            observed={
                "asked_for": {name: list(reasons) for name, reasons in asked.items()},
                "considered": dict(considered),
                "directive": version,
            },
        )

    def watch(self, session: Session, challenger: ModelArtifact, panel: Panel) -> None:
        """Note how the challenger did on the bars since its training."""
        if challenger.name in deep.NAMES:
            at = port.moment_of(int(panel.times[-1]) + BAR_S).isoformat()
            # It takes PyTorch to judge it; the queue `models` does, and the next tick reads it.
            jobs.enqueue(
                session,
                WATCH_TASK,
                {"artifact": challenger.id, "at": at},
                queue=QUEUE,
                priority=3,
                natural_key=f"{WATCH_TASK}:{challenger.id}:{at}",
            )
            return
        seen = shadow.judge(session, challenger, panel)
        challenger.metrics = {**challenger.metrics, **seen}

    def ask(self, session: Session, name: str, at: datetime, reasons: list[str]) -> bool:
        """Enqueue a training on the queue `models`; False where that tick asked already."""
        return (
            jobs.enqueue(
                session,
                TRAIN_TASK,
                {"model": name, "at": at.isoformat(), "reasons": list(reasons)},
                queue=QUEUE,
                priority=9 if "HEALTH_CRITICAL" in reasons else 3,
                natural_key=f"{TRAIN_TASK}:{name}:{at.isoformat()}",
            )
            is not None
        )

    def take_in(
        self, session: Session, name: str, made: Made | str, reasons: list[str]
    ) -> ModelArtifact | None:
        """Keep what a training made; a text is why it made nothing."""
        if isinstance(made, str):
            self._decided(session, name, "NO_MODEL", {"why": made}, reasons)
            return None
        artifact = artifacts.file(session, name, made.content, made.metrics, made.samples)
        detail = {"id": artifact.id, **_figures(made.metrics)}
        self._decided(session, name, "TRAINED", detail, reasons)
        return artifact


def _figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}

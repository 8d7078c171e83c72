"""N-HiTS and PatchTST on real workers of the queue `models`; skipped without the extra `deep`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.database import migrate, reading, transaction
from homeostat.store.jobs import Job, JobState, enqueue
from homeostat.store.trading import Decision, DecisionCycle, ModelArtifact, ModelPrediction
from homeostat.trading import flow, signals
from homeostat.trading.market import port
from homeostat.trading.models import artifacts, deep, promotion, shadow
from tests.component.trading.test_flow import permit
from tests.conftest import forget_settings
from tests.running_stack import running
from tests.waiting import wait_until
from tests.worker.test_models import BTC
from tests.worker.test_trade import dispatcher, worker
from workers.dispatch import send_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not deep.installed(), reason="neuralforecast is missing: install homeostat[deep]"
    ),
]
#: One training on one symbol takes half a minute of a core, and there may be two busy ones.
TRAINED_S = 400


def done(job_id: str) -> bool:
    with reading() as session:
        return session.get_one(Job, job_id).state == JobState.DONE


def ask(task: str, **kwargs: Any) -> str:
    """Enqueue a job of the queue `models` and send it; returns its id."""
    with transaction() as session:
        enqueue(session, task, kwargs, queue="models", natural_key=f"{task}:{kwargs}")
        (job_id,) = session.info["jobs_to_send"]
    send_jobs(dispatcher(), [job_id])
    return str(job_id)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("embedded_broker")
@pytest.mark.parametrize("name", deep.NAMES)
def test_a_network_is_trained_judged_and_heard_by_the_flow_which_loads_no_torch(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(BTC))
    forget_settings()
    migrate()
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    with worker(tmp_path / "worker.log", queue="models"):
        job = ask("models.train", model=name, at=utcnow().isoformat(), reasons=["AGE"])
        wait_until(lambda: done(job), f"{name} is trained", TRAINED_S)
        now = utcnow()
        with transaction() as session:
            challenger = session.scalars(select(ModelArtifact)).one()
            challenger.trained_at = now - promotion.SHADOW - timedelta(minutes=1)
            panel = port.market(settings()).panel(now, shadow.BARS)
            orchestrator.watch(session, challenger, panel)
            (job,) = session.info["jobs_to_send"]
        send_jobs(dispatcher(), [job])
        wait_until(lambda: done(job), f"the shadow of {name} is judged", 120)
        with transaction() as session:
            kept = session.get_one(ModelArtifact, challenger.id)
            assert kept.metrics["shadow_labels"] >= promotion.SHADOW_LABELS
            assert 0 < kept.metrics["shadow_brier"] < 1
            artifacts.promote(session, kept)
        now = utcnow()
        dispatcher().send("models.predict", {"due_at": now.isoformat()})
        wait_until(lambda: heard(kept.sha256), f"{name} says what it expects", 120)
    # The worker's child is the one that PyTorch grew: this process decides as workers do, and
    # could not import it, whatever another test has loaded here.
    for library in ("torch", "neuralforecast"):
        monkeypatch.setitem(sys.modules, library, None)
    with transaction() as session:
        permit(session, now, min_confidence=0.5)
        assert flow.cycle(session, now, settings())
    with reading() as session:
        cycle = session.scalars(select(DecisionCycle)).one()
        row = session.scalars(select(Decision)).one()
        said = session.scalars(select(ModelPrediction)).one()
        assert cycle.inputs["model"] == {"name": name, "sha256": kept.sha256, "bar": said.bar}
        rise = said.rises[row.symbol]
        assert row.confidence == pytest.approx(max(rise, 1 - rise))
        assert not row.rule.startswith("ABSTAIN")
        read = deep.DeepModel.of(kept.content)
    assert read.kind == name
    later = now + timedelta(minutes=5)
    panel = port.market(settings()).panel(later, 240)
    with reading() as session:
        told = signals.signals(panel, later, orchestrator.model(session))
    # The universe may not want the only symbol; what the model has to say of it is nothing.
    assert told.digest() == {"STALE_PREDICTION": 1}


def heard(digest: str) -> bool:
    with reading() as session:
        found = session.scalars(select(ModelPrediction.sha256)).all()
        return digest in found


@pytest.mark.timeout(400)
def test_where_the_extra_is_installed_the_stack_has_a_worker_of_the_queue_models(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "var") as stack:
        assert "models_worker" in stack.pids()
        assert len(stack.children("models_worker")) == 2
        words = Path(f"/proc/{stack.pid('models_worker')}/cmdline").read_text().split("\0")
        assert words[words.index("--queues") + 1] == "models"
        main = Path(f"/proc/{stack.pid('worker')}/cmdline").read_text().split("\0")
        assert "models" not in main[main.index("--queues") + 1].split(",")
        stack.send("models.predict", due_at=utcnow().isoformat())
        wait_until(
            lambda: "models.predict" in stack.log("models_worker"),
            "the models worker has taken a prediction up",
            60,
        )

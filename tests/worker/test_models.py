"""Training on a real worker of the queue `models`: once, apart, and kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store.database import migrate, reading, transaction
from homeostat.store.jobs import Job, JobState
from homeostat.store.trading import ModelArtifact, RetrainingDecision
from homeostat.trading.models.agent import BOOSTED
from homeostat.trading.models.boosted import BoostedModel
from tests.conftest import forget_settings
from tests.waiting import wait_until
from tests.worker.test_trade import dispatcher, worker
from workers.dispatch import send_jobs

BTC = Path(__file__).parents[2].parent / "shared/data/market/btc-perp-20211231-20220201_1m.csv"


def state_of(job_id: str) -> str:
    with reading() as session:
        return session.get_one(Job, job_id).state


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_broker")
def test_a_training_asked_for_is_done_once_however_often_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(BTC))
    forget_settings()
    migrate()
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    now = utcnow()
    with transaction() as session:
        assert orchestrator.ask(session, BOOSTED, now, ["AGE"])
        assert not orchestrator.ask(session, BOOSTED, now, ["AGE"])
        (first,) = session.info["jobs_to_send"]
    with worker(tmp_path / "worker.log", queue="models"):
        for _ in range(2):
            send_jobs(dispatcher(), [first])
            with transaction() as session:
                session.get_one(Job, first).send_at = now
        wait_until(lambda: state_of(first) == JobState.DONE, "the training has ended", 90)
        with transaction() as session:
            assert orchestrator.ask(session, BOOSTED, now + timedelta(hours=1), ["DRIFT"])
            (second,) = session.info["jobs_to_send"]
        send_jobs(dispatcher(), [second])
        wait_until(lambda: state_of(second) == JobState.DONE, "the second one has ended", 90)
    with reading() as session:
        kept = session.scalars(select(ModelArtifact).order_by(ModelArtifact.id)).all()
        assert len(kept) == 2
        assert all(BoostedModel.of(one.content).trees for one in kept)
        counted = select(func.count()).where(RetrainingDecision.verdict == "TRAINED")
        assert session.scalar(counted) == 2

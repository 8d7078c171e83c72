"""Deep champions in the flow: by what they said on the queue `models`, as long as it is fresh."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import controls
from homeostat.store.database import reading, transaction
from homeostat.store.trading import (
    Decision,
    DecisionCycle,
    ModelArtifact,
    ModelPrediction,
    ModelRecord,
)
from homeostat.trading import predicting
from homeostat.trading.market import port
from homeostat.trading.models import artifacts, deep
from homeostat.trading.models.agent import Ensemble, EwmaModel
from homeostat.trading.models.foretold import Foretold
from homeostat.trading.predicting import Said
from homeostat.trading.replay import replay
from tasks import models as tasks
from tests.component.trading.test_flow import permit, run

pytestmark = pytest.mark.usefixtures("sqlite_store")


def promoted(name: str = deep.NHITS) -> str:
    """Put an artefact of that name in service; returns its digest."""
    with transaction() as session:
        filed = artifacts.file(session, name, b'{"kind": "none"}', {})
        artifacts.promote(session, filed)
        return filed.sha256


def said(digest: str, at: datetime, back: int = 0, leave: tuple[str, ...] = ()) -> None:
    """Store a batch about the bar that closed `back` minutes before the newest one."""
    panel = port.market(settings()).panel(at, 2)
    rises = {
        symbol: 0.9 if place % 2 else 0.1
        for place, symbol in enumerate(panel.symbols)
        if symbol not in leave
    }
    with transaction() as session:
        bar = int(panel.times[-1]) - 60 * back
        assert predicting.keep(session, Said(deep.NHITS, digest, bar, rises, {}))


def decided(at: datetime) -> dict[str, Decision]:
    with transaction() as session:
        permit(session, at)
        summary = run(session, at)
    with reading() as session:
        rows = session.scalars(select(Decision).where(Decision.cycle_id == summary.cycle_id))
        return {row.symbol: row for row in rows}


def test_the_flow_takes_a_fresh_prediction_as_the_models_signal() -> None:
    at = utcnow()
    said(promoted(), at, back=1)
    rows = decided(at)
    assert {row.side for row in rows.values()} == {1, -1}
    assert {round(row.confidence, 9) for row in rows.values()} == {0.9}
    assert "OPENED" in {row.rule for row in rows.values()}
    with reading() as session:
        assert session.get(ModelRecord, deep.NHITS) is not None
        report = replay(session, settings(), at - timedelta(minutes=1), at + timedelta(minutes=1))
    assert len(report.decisions) == 222
    assert (report.differing, report.changed) == ([], [])


@pytest.mark.parametrize(("back", "fresh"), [(0, True), (2, True), (3, False), (-1, False)])
def test_a_prediction_is_fresh_for_two_bars_and_never_from_ahead(back: int, fresh: bool) -> None:  # noqa: FBT001  # a row of the table
    at = utcnow()
    said(promoted(), at, back=back)
    rules = {row.rule for row in decided(at).values()} - {"NOT_IN_UNIVERSE"}
    assert ("OPENED" in rules) is fresh
    assert (rules == {"ABSTAIN_STALE_PREDICTION"}) is not fresh


def test_a_champion_that_never_said_anything_abstains() -> None:
    promoted()
    rules = {row.rule for row in decided(utcnow()).values()} - {"NOT_IN_UNIVERSE"}
    assert rules == {"ABSTAIN_STALE_PREDICTION"}


def test_a_symbol_that_was_left_out_abstains_alone() -> None:
    at = utcnow()
    said(promoted(), at, leave=("ETHUSDT",))
    rows = decided(at)
    assert rows["ETHUSDT"].rule == "ABSTAIN_STALE_PREDICTION"
    assert (rows["ETHUSDT"].side, rows["ETHUSDT"].confidence) == (0, 0.0)
    assert sum(row.rule.startswith("ABSTAIN") for row in rows.values()) == 1


def test_beside_other_champions_a_stale_one_is_left_out_of_the_mean() -> None:
    panel = port.market(settings()).panel(utcnow(), 240)
    base = EwmaModel()
    stale = Foretold(deep.NHITS, "x", int(panel.times[-1]) - 600, dict.fromkeys(panel.symbols, 0.9))
    fresh = Foretold(deep.NHITS, "x", int(panel.times[-1]), dict.fromkeys(panel.symbols, 0.9))
    assert (Ensemble((base, stale)).rise(panel) == base.rise(panel)).all()
    assert Ensemble((base, fresh)).rise(panel) == pytest.approx((base.rise(panel) + 0.9) / 2)
    assert np.isnan(Ensemble((stale,)).rise(panel)).all()


def test_the_journal_names_the_batch_and_a_batch_that_is_gone_is_said() -> None:
    at = utcnow()
    digest = promoted()
    said(digest, at)
    decided(at)
    with transaction() as session:
        known: Any = session.scalars(select(DecisionCycle.inputs)).one()["model"]
        assert (known["name"], known["sha256"]) == (deep.NHITS, digest)
        session.execute(ModelPrediction.__table__.delete())  # type: ignore[attr-defined]  # a model's table is a Table at run time
    with reading() as session:
        report = replay(session, settings(), at - timedelta(minutes=1), at + timedelta(minutes=1))
    assert {one.step for one in report.differing} == {"model"}


def test_a_tampered_prediction_is_found_as_another_signal() -> None:
    at = utcnow()
    said(promoted(), at)
    decided(at)
    with transaction() as session:
        row = session.scalars(select(ModelPrediction)).one()
        row.rises = {**row.rises, "ETHUSDT": 0.7}
    with reading() as session:
        report = replay(session, settings(), at - timedelta(minutes=1), at + timedelta(minutes=1))
    (own,) = (one for one in report.differing if one.id.endswith(".ETHUSDT"))
    assert (own.step, own.differs) == ("signal", "confidence 0.9, and now 0.7")


def test_a_batch_is_kept_once_and_a_model_that_is_off_is_not_asked() -> None:
    digest = promoted()
    with transaction() as session:
        one = Said(deep.NHITS, digest, 60, {"A": 0.6}, {})
        assert predicting.keep(session, one)
        assert not predicting.keep(session, one)
        assert [found.name for found in predicting.champions(session)] == [deep.NHITS]
        controls.set_on(session, controls.MODEL_DISABLED + deep.NHITS, actor="t", reason="r")
        assert predicting.champions(session) == []


def test_without_the_extra_the_task_says_nothing_and_does_not_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tasks.predict() is None
    promoted()
    monkeypatch.setattr(deep, "installed", lambda: False)
    assert tasks.predict() == {}
    with transaction() as session:
        session.execute(update(ModelArtifact).values(content=b"forged"))
    assert tasks.predict() == {}

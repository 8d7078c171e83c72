"""Drift of losses, of served features, and of the market; and a one-sided model in ENFORCED."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from river.drift import ADWIN, PageHinkley
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.store.trading import Decision, ModelAlias, ModelRecord
from homeostat.trading import flow
from homeostat.trading.market import generator, port
from homeostat.trading.market.panel import Panel
from homeostat.trading.model_supervisor import Outcome
from homeostat.trading.model_supervisor.served import count_features
from homeostat.trading.models import artifacts, drift, training
from homeostat.trading.models.agent import BASELINE, BOOSTED, ENSEMBLE
from homeostat.trading.models.promotion import SHADOW, SHADOW_LABELS
from homeostat.trading.signals import EwmaModel
from tests.component.trading.test_flow import permit
from tests.conftest import forget_settings
from tests.market_moment import MOMENT

GOOD = {
    "deflated_sharpe": 0.95,
    "mean_return": 0.001,
    "brier": 0.24,
    "calibration_error": 0.05,
    "shadow_labels": SHADOW_LABELS,
}
BTC = Path(__file__).parents[3].parent / "shared/data/market/btc-perp-20211231-20220201_1m.csv"


def streams() -> list[list[float]]:
    """Brier losses of forty models: steady ones, ones that drift either way, one from the start."""
    draw = np.random.default_rng(8)
    found = [[0.0] * 8 + [1.0] * 60]
    for number in range(39):
        calm = draw.uniform(0.0, 0.5, 300)
        moved = np.clip(draw.uniform(0.0, 0.5, 200) + (0.0, 0.3, -0.2, 0.5)[number % 4], 0, 1)
        found.append(np.concatenate([calm, moved]).tolist())
    return found


def alarms_of(detector: Any, losses: list[float]) -> list[int]:
    found = []
    for place, loss in enumerate(losses):
        detector.update(loss)
        if detector.drift_detected:
            found.append(place)
    return found


def test_the_detectors_say_what_rivers_public_ones_say() -> None:
    page: dict[str, Any] = {
        "min_instances": drift.PAGE_WARM_UP,
        "delta": drift.PAGE_DELTA,
        "alpha": 1.0,
    }
    alarms = 0
    for losses in streams():
        theirs = alarms_of(ADWIN(delta=drift.ADWIN_DELTA, clock=drift.ADWIN_CLOCK), losses)  # type: ignore[no-untyped-call]  # river has no types there
        assert drift.adwin(losses) == theirs
        other = alarms_of(PageHinkley(threshold=drift.PAGE_LAMBDA, mode="both", **page), losses)
        assert drift.page_hinkley(losses) == other
        alarms += len(theirs) + len(other)
    assert alarms >= 40


def learn(component: Any, session: Any, model: str, results: list[float], first: int = 0) -> None:
    for number, r in enumerate(results, first):
        # A confidence of 0.6 on both sides: a loss of 0.16 when right, and 0.36 when wrong.
        one = Outcome(f"{model}-{number}", model, "BTC", 1, 0.6, r)
        assert component.learn(session, one)


@pytest.mark.usefixtures("store")
def test_a_planted_drift_is_found_in_the_outcomes_and_asks_for_training() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    usual = [1.0, 1.0, -1.0] * 60
    with transaction() as session:
        learn(supervisor, session, BASELINE, usual)
        supervisor.run(session, utcnow())
        record = session.get_one(ModelRecord, BASELINE)
        assert record.drift["found_at"] is None
        assert "DRIFT" not in orchestrator.review(session, BASELINE).triggers
        learn(supervisor, session, BASELINE, [-1.0] * 120, first=len(usual))
        supervisor.run(session, utcnow())
        assert record.drift["adwin"]
        assert record.drift["page_hinkley"]
        assert record.health in {"DEGRADED", "CRITICAL"}
        assert "DRIFT" in orchestrator.review(session, BASELINE).triggers


@pytest.mark.usefixtures("store")
def test_drift_is_against_the_model_in_service_and_answered_by_training() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        learn(supervisor, session, BASELINE, [1.0, 1.0, -1.0] * 60 + [-1.0] * 120)
        supervisor.run(session, utcnow())
        record = session.get_one(ModelRecord, BASELINE)
        assert orchestrator.standing(session, BASELINE).drifted
        challenger = orchestrator.file(session, BASELINE, EwmaModel().content(), GOOD)
        assert not orchestrator.standing(session, BASELINE).drifted
        challenger.trained_at = utcnow() - SHADOW
        assert orchestrator.consider(session, challenger) == ""
        session.get_one(ModelAlias, BASELINE).at = utcnow()
        learn(supervisor, session, BASELINE, [1.0, 1.0, -1.0] * 10, first=300)
        supervisor.run(session, utcnow())
        assert record.drift["found_at"] is None
        assert record.health != "CRITICAL"


@pytest.mark.usefixtures("store")
def test_a_member_of_the_ensemble_answers_for_what_the_ensemble_said() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        champion = orchestrator.file(session, BASELINE, EwmaModel().content(), GOOD)
        champion.trained_at = utcnow() - SHADOW
        assert orchestrator.consider(session, champion) == ""
        learn(supervisor, session, ENSEMBLE, [1.0] * 49)
        assert "NEW_SAMPLES" not in orchestrator.review(session, BASELINE).triggers
        learn(supervisor, session, ENSEMBLE, [1.0], first=49)
        assert "NEW_SAMPLES" in orchestrator.review(session, BASELINE).triggers
        # Whoever is not in service has said none of it.
        assert orchestrator.standing(session, BOOSTED).new_samples == 0
        # What was there at the last training has been learnt from.
        champion.trained_at = utcnow()
        session.flush()
        assert orchestrator.standing(session, BASELINE).new_samples == 0


@pytest.mark.parametrize(("mode", "blocked"), [("ENFORCED", 1), ("OBSERVE", 0)])
@pytest.mark.usefixtures("store")
def test_a_planted_one_sided_model_loses_that_side_only_where_it_is_enforced(
    mode: str, blocked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    forget_settings()
    supervisor: Any = registry.find("trading.model_supervisor")
    with transaction() as session:
        supervisor.observe(session, "bull", 80, 20, {})
        supervisor.observe(session, "fair", 52, 48, {})
        supervisor.run(session, utcnow())
        assert session.get_one(ModelRecord, "bull").blocked_side == 1
        assert supervisor.blocked(session, "bull") == blocked
        assert supervisor.blocked(session, "fair") == 0


@pytest.mark.parametrize(("mode", "sides"), [("ENFORCED", {1}), ("OBSERVE", set())])
@pytest.mark.usefixtures("sqlite_store")
def test_the_flow_opens_nothing_on_a_side_that_the_supervisor_took_from_the_model(
    mode: str, sides: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    forget_settings()
    supervisor: Any = registry.find("trading.model_supervisor")
    with transaction() as session:
        supervisor.observe(session, BASELINE, 800, 20, {})
        supervisor.run(session, MOMENT)
        permit(session, MOMENT)
        assert flow.cycle(session, MOMENT, settings()) is not None
        decided = session.execute(select(Decision.rule, Decision.side)).all()
    assert {side for rule, side in decided if rule == "BIAS_BLOCKED"} == sides
    # Without the block the same batch has longs that come further: the block is what stops them.
    other_gates = {"NOT_IN_UNIVERSE", "BIAS_BLOCKED", "CONFIDENCE_FLOOR"}
    further = {side for rule, side in decided if rule not in other_gates}
    assert further == ({-1} if sides else {1, -1})


def in_service(session: Any, panel: Panel) -> None:
    """Promote a baseline that was trained on that panel."""
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    metrics = {**GOOD, **training.ground(panel)}
    artifact = orchestrator.file(session, BASELINE, EwmaModel().content(), metrics)
    artifact.trained_at = utcnow() - SHADOW
    assert orchestrator.consider(session, artifact) == ""


@pytest.mark.usefixtures("store")
def test_served_features_of_another_population_are_found_from_kept_counts() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    panel = generator.panel(5, symbols=100, bars=1_500)
    # Prices that only creep upward: another world than the one that was trained on.
    climbing = panel.close[:, :1] * np.exp(np.cumsum(np.abs(panel.log_returns()), axis=1))
    with transaction() as session:
        in_service(session, panel)
        record = supervisor.observe(session, BASELINE, 10, 10, {})
        for end in range(600, 1_500, 60):
            count_features(session, record, drift.population(panel.window(0, end)))
        calm = dict(record.drift)
        assert min(sum(one) for one in calm["bins"].values()) > drift.PSI_LEAST
        assert calm["shifted"] == []
        for end in range(600, 1_500, 60):
            moved = replace(panel.window(1, end), close=climbing[:, : end - 1])
            count_features(session, record, drift.population(moved))
        assert "share_of_rises" in record.drift["shifted"]
        # Another artefact in service begins its counts anew.
        in_service(session, panel)
        count_features(session, record, drift.population(panel))
        assert sum(record.drift["bins"]["skew"]) == pytest.approx(100)
        assert record.drift["psi"] == {}


@pytest.mark.usefixtures("sqlite_store")
def test_the_supervisors_cycle_counts_what_the_live_feed_served() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    market = port.market(settings())
    with transaction() as session:
        in_service(session, market.panel(utcnow(), 1_500))
        record = supervisor.observe(session, BASELINE, 10, 10, {})
        for _ in range(6):
            supervisor.run(session, utcnow())
        counted = sum(record.drift["bins"]["return_5"])
        assert counted > 5 * len(market.instruments) * 0.9
        assert record.drift["psi"]


def test_another_regime_is_told_from_the_same_one() -> None:
    panel = generator.panel(5, symbols=60, bars=2_400)
    was: Any = drift.regime(panel.window(0, 2_160))
    now = panel.window(2_160, 2_400)
    assert not drift.regime_changed(was, drift.regime(now))
    logs = np.log(now.close)
    usual = was["deviation"] / cast("float", drift.regime(now)["deviation"])
    for times, changed in ((1.9, False), (2.1, True), (0.55, False), (0.45, True)):
        scaled = logs[:, :1] + times * usual * (logs - logs[:, :1])
        assert drift.regime_changed(was, drift.regime(replace(now, close=np.exp(scaled)))) is (
            changed
        )
    common = (logs - logs[:, :1]).mean(axis=0)
    together = replace(now, close=np.exp(0.2 * (logs - logs[:, :1]) + 1.5 * common))
    assert drift.regime_changed(was, drift.regime(together))
    still = replace(now, close=np.ones_like(now.close))
    assert not drift.regime_changed(was, drift.regime(still))


@pytest.mark.usefixtures("sqlite_store")
def test_a_recorded_market_that_turned_wild_asks_for_training(state_dir: Path) -> None:
    orchestrator: Any = registry.find("trading.retraining_orchestrator")
    strip = port.recorded(BTC, state_dir).strip
    deviations = strip.log_returns()[0]
    windows = np.lib.stride_tricks.sliding_window_view(deviations, drift.REGIME_BARS)
    spread = np.nanstd(windows, axis=1)
    calmest, wildest = int(np.nanargmin(spread)), int(np.nanargmax(spread))
    with transaction() as session:
        calm = strip.window(calmest, calmest + drift.REGIME_BARS)
        metrics = {**GOOD, "regime": drift.regime(calm)}
        artifacts.file(session, BASELINE, EwmaModel().content(), metrics)
        wild = strip.window(wildest, wildest + drift.REGIME_BARS)
        assert orchestrator.standing(session, BASELINE, wild).regime_changed
        assert not orchestrator.standing(session, BASELINE, calm).regime_changed

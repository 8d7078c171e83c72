"""Training for real: LightGBM and the baseline, planted skill, noise, shadow, and what serves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import controls, trading
from homeostat.store.database import transaction
from homeostat.store.jobs import Job
from homeostat.trading import flow, replay
from homeostat.trading import signals as agents
from homeostat.trading.market import generator, port
from homeostat.trading.market.panel import BAR_S, Panel
from homeostat.trading.models import (
    apart,
    artifacts,
    boosted,
    features,
    scoring,
    shadow,
    training,
    validation,
)
from homeostat.trading.models.agent import BASELINE, BOOSTED, Agent, ModelUnavailableError
from homeostat.trading.models.boosted import BoostedModel
from homeostat.trading.models.features import HORIZON_BARS, INPUT_BARS
from homeostat.trading.models.promotion import SHADOW, SHADOW_LABELS, refusal
from homeostat.trading.signals import Abstain, EwmaModel

BTC = Path(__file__).parents[3].parent / "shared/data/market/btc-perp-20211231-20220201_1m.csv"
GOOD = {
    "deflated_sharpe": 0.95,
    "mean_return": 0.001,
    "brier": 0.24,
    "calibration_error": 0.05,
}
WATCHED = {"shadow_labels": SHADOW_LABELS}
BARS = 2_160


def noise(symbols: int = 40) -> Panel:
    return generator.panel(5, symbols=symbols, bars=BARS)


def planted(strength: float = 0.0006, symbols: int = 40) -> Panel:
    """A panel in which momentum pays: slow swings of that strength are added to the noise."""
    panel = noise(symbols)
    swing = np.cumsum(np.sign(np.sin(np.arange(BARS) * 2 * np.pi / 480))) * strength
    fields = ("open", "high", "low", "close")
    return replace(panel, **{name: getattr(panel, name) * np.exp(swing) for name in fields})


@pytest.fixture(scope="module")
def skilled() -> scoring.Trained:
    """LightGBM trained where there is something to learn."""
    return training.train(planted(), BOOSTED)


@pytest.mark.parametrize("name", [BASELINE, BOOSTED])
def test_training_finds_a_planted_momentum_and_none_in_noise(name: str) -> None:
    found = training.train(planted(), name).metrics()
    nothing = training.train(noise(), name).metrics()
    assert refusal({**found, **WATCHED}, None, SHADOW) == "", found
    assert "deflated" in refusal({**nothing, **WATCHED}, None, SHADOW), nothing
    assert found["brier"] < 0.25 < nothing["brier"]


def test_the_same_bars_give_the_same_bytes(skilled: scoring.Trained) -> None:
    again = training.train(planted(), BOOSTED)
    assert again.model.content() == skilled.model.content()
    assert training.train(planted(0.0007), BOOSTED).model.content() != skilled.model.content()


def test_an_artefact_read_back_says_the_same_to_the_last_bit(skilled: scoring.Trained) -> None:
    panel = planted()
    read = BoostedModel.of(skilled.model.content())
    assert (read.rise(panel) == skilled.model.rise(panel)).all()


def test_an_overfitted_model_shines_in_training_and_is_refused() -> None:
    """The refusal is the walk-forward's doing: judged where it was trained, it would pass."""
    panel = noise(20)
    ends = np.arange(INPUT_BARS, BARS - HORIZON_BARS, HORIZON_BARS)
    windows = [features.windows(one, ends) for one in (panel.close, panel.volume)]
    rows = training.Rows(features.features(*windows), training.future(panel.close, ends))
    model = BoostedModel(training.fit(rows, 60, 400, least=2), 1.0)
    seen = training.scored(model, rows)
    confidence, won = scoring.judged([seen], [scoring.slope(seen)])
    cheat = scoring.Trained(
        model,
        scoring.outcome(seen),
        validation.brier(confidence, won),
        validation.calibration_error(confidence, won),
        1,
        0.0,
    ).metrics()
    honest = training.train(panel, BOOSTED).metrics()
    assert refusal({**cheat, **WATCHED, "calibration_error": 0.0}, None, SHADOW) == "", cheat
    assert "deflated" in refusal({**honest, **WATCHED}, None, SHADOW), honest


@pytest.mark.parametrize("name", [BASELINE, BOOSTED])
def test_both_train_on_the_recorded_bars_and_claim_nothing(name: str, state_dir: Path) -> None:
    recorded = port.recorded(BTC, state_dir)
    found = training.train(recorded.strip, name).metrics()
    assert found["samples"] > 500
    assert refusal({**found, **WATCHED}, None, SHADOW) != "", found
    assert 0.24 < found["brier"] < 0.26


@pytest.mark.parametrize(("name", "step"), [(BASELINE, HORIZON_BARS), (BOOSTED, training.STEP)])
def test_each_fold_is_tested_a_whole_horizon_after_what_it_was_fitted_on(
    name: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart: list[int] = []
    real = validation.walk_forward

    def watched(count: int, folds: int, embargo: int) -> Any:
        for before, test in real(count, folds, embargo):
            apart.append(step * (test.start - before.stop))
            yield before, test

    monkeypatch.setattr(validation, "walk_forward", watched)
    training.train(noise(5), name)
    assert set(apart) == {HORIZON_BARS}


def test_too_few_bars_are_said_and_not_trained_on() -> None:
    with pytest.raises(ValueError, match="too few whole series"):
        training.train(noise().window(0, 300), BOOSTED)
    with pytest.raises(ValueError, match="no training"):
        training.train(noise(), "prophet")


@pytest.mark.usefixtures("sqlite_store")
def test_training_runs_apart_and_leaves_its_libraries_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(BTC))
    before = set(sys.modules)
    made = apart.train(BOOSTED, utcnow())
    assert made.metrics["samples"] > 0
    assert set(made.metrics["features"]) == set(features.NAMES)
    assert BoostedModel.of(made.content).trees.startswith("tree")
    assert not {"pandas", "torch"} & (set(sys.modules) - before)


def kept(session: Session, content: bytes, name: str, metrics: dict[str, Any]) -> Any:
    """File a challenger whose shadow period has passed, and consider it."""
    component: Any = registry.find("trading.retraining_orchestrator")
    artifact = component.file(session, name, content, metrics)
    artifact.trained_at = utcnow() - SHADOW
    return artifact, component.consider(session, artifact)


@pytest.mark.usefixtures("store")
def test_a_better_lightgbm_is_promoted_a_worse_refused_and_a_rollback_exact(
    skilled: scoring.Trained,
) -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    weaker = training.train(planted(0.0004), BOOSTED)
    poor = training.train(noise(), BOOSTED)
    bound = {"calibration_error": 0.2}
    with transaction() as session:
        worse_first = weaker.metrics() | WATCHED | bound
        better = skilled.metrics() | WATCHED | bound
        assert better["brier"] < worse_first["brier"]
        assert kept(session, weaker.model.content(), BOOSTED, worse_first)[1] == ""
        assert kept(session, skilled.model.content(), BOOSTED, better)[1] == ""
        assert component.model(session) == skilled.model
        for one in (worse_first, poor.metrics() | WATCHED):
            artifact, why = kept(session, b"{}", BOOSTED, one)
            assert why
            assert artifact.state == artifacts.REFUSED
        assert component.rollback(session, BOOSTED).content == weaker.model.content()
        assert component.model(session).content() == weaker.model.content()


@pytest.mark.usefixtures("sqlite_store")
def test_champions_serve_together_and_the_journal_can_recall_them(
    skilled: scoring.Trained,
) -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    base = EwmaModel(4, 24, 0.4)
    good = skilled.metrics() | WATCHED
    with transaction() as session:
        assert component.model(session) == EwmaModel()
        kept(session, base.content(), BASELINE, good)
        kept(session, skilled.model.content(), BOOSTED, good)
        both = component.model(session)
        assert both.name == "ensemble"
        panel = planted()
        mean = (base.rise(panel) + skilled.model.rise(panel)) / 2
        assert both.rise(panel) == pytest.approx(mean, abs=1e-15)
        reference = json.loads(json.dumps(both.reference()))
        assert (artifacts.recall(session, reference).rise(panel) == both.rise(panel)).all()


@pytest.mark.usefixtures("sqlite_store")
def test_without_the_library_the_baseline_serves_and_the_reason_is_typed(
    skilled: scoring.Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        kept(session, skilled.model.content(), BOOSTED, skilled.metrics() | WATCHED)
        assert component.model(session).name == BOOSTED
        controls.set_on(session, controls.MODEL_DISABLED + BOOSTED, actor="test", reason="test")
        assert component.model(session).absent == {BOOSTED: "DISABLED"}
        assert controls.lift(session, controls.MODEL_DISABLED + BOOSTED)
        # What Python does where the module is not there to be imported.
        monkeypatch.setitem(sys.modules, "lightgbm", None)
        served = component.model(session)
        assert (served.name, served.absent) == (BASELINE, {BOOSTED: "LIBRARY_MISSING"})
        assert served.reference()["absent"] == {BOOSTED: "LIBRARY_MISSING"}
    with pytest.raises(ModelUnavailableError, match="libgomp1"):
        boosted.library()


def live(panel: Panel) -> tuple[Panel, datetime]:
    """Return the panel as if its last bar had just closed."""
    last = datetime.fromtimestamp(int(panel.times[-1]) + BAR_S, tz=UTC)
    return panel, last


@pytest.mark.parametrize("fault", ["short", "stalled", "gapped", "constant"])
def test_forty_unfit_symbols_of_222_cost_lightgbm_no_other(
    fault: str, skilled: scoring.Trained
) -> None:
    panel, at = live(generator.panel(5, bars=240))
    whole = agents.signals(panel, at, skilled.model)
    fields = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close")}
    for values in fields.values():
        cut = {
            "short": np.s_[:40, :-20],
            "stalled": np.s_[:40, -3:],
            "gapped": np.s_[:40, -30:-28],
            "constant": np.s_[:40, :],
        }[fault]
        values[cut] = 7.0 if fault == "constant" else np.nan
    found = agents.signals(replace(panel, **fields), at, skilled.model)
    kind = {
        "short": Abstain.TOO_SHORT,
        "stalled": Abstain.STALE,
        "gapped": Abstain.GAPPED,
        "constant": Abstain.CONSTANT,
    }[fault]
    assert found.digest() == {kind: 40}
    assert not found.side[:40].any()
    assert (found.side[40:] == whole.side[40:]).all()
    assert (found.confidence[40:] == whole.confidence[40:]).all()
    assert whole.digest() == {}


def test_the_shadow_tells_a_model_that_fails_on_new_bars_from_one_that_does_not(
    skilled: scoring.Trained,
) -> None:
    panel = planted().window(0, 1_400)
    since = datetime.fromtimestamp(int(panel.times[600]), tz=UTC)
    good = shadow.watch(skilled.model, None, panel, since)
    assert good["shadow_labels"] >= SHADOW_LABELS
    assert not good["shadow_worse"]
    assert good["shadow_brier"] < 0.25

    class Contrary:
        """Says the opposite, as surely."""

        name, need = BOOSTED, skilled.model.need

        def rise(self, panel: Panel) -> Any:
            return 1 - skilled.model.rise(panel)

        def content(self) -> bytes:
            return b""

        def reference(self) -> dict[str, Any]:
            return {}

    contrary: Agent = Contrary()
    assert shadow.watch(contrary, None, panel, since)["shadow_worse"]
    assert shadow.watch(contrary, skilled.model, panel, since)["shadow_worse"]
    late = since + timedelta(days=1)
    assert shadow.watch(skilled.model, None, panel, late) == {"shadow_labels": 0}


@pytest.mark.usefixtures("sqlite_store")
def test_an_untrained_model_is_asked_for_once_a_tick_and_then_waits_in_the_shadow() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    due = utcnow()
    with transaction() as session:
        seen = component.run(session, due).observed
        assert seen["asked_for"] == {BASELINE: ["AGE"], BOOSTED: ["AGE"]}
        assert component.run(session, due).observed["asked_for"] == {}
        jobs = session.scalars(select(Job).where(Job.queue == "models")).all()
        assert {job.kwargs["model"] for job in jobs} == {BASELINE, BOOSTED}
        panel = port.market(component.context.settings).panel(due, apart.TRAINING_BARS)
        found = training.train(panel, BASELINE)
        made = apart.Made(found.model.content(), {**found.metrics(), **training.ground(panel)}, 28)
        assert component.take_in(session, BASELINE, made, ["AGE"]) is not None
        assert component.take_in(session, BOOSTED, "NO_DATA: too little", ["AGE"]) is None
        again = component.run(session, due + timedelta(hours=1)).observed
        assert again["asked_for"] == {BOOSTED: ["AGE"]}
        assert BASELINE in again["considered"]
        kept = session.scalars(select(trading.RetrainingDecision.verdict)).all()
        assert kept[:2] == ["TRAINED", "NO_MODEL"]
        assert kept[2] in {"SHADOW", "REFUSED"}


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("reasons", "priority"),
    [(["HEALTH_CRITICAL", "DRIFT"], 9), (["HEALTH_DEGRADED"], 3), (["AGE"], 3)],
)
def test_a_model_in_critical_health_is_trained_before_all_others(
    reasons: list[str], priority: int
) -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        assert component.ask(session, BASELINE, utcnow(), reasons)
        assert session.scalars(select(Job.priority)).all() == [priority]


HEAVY = ("scipy", "lightgbm", "pandas", "matplotlib", "torch")
TICK = """
import subprocess
import sys
from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store.database import transaction
for name in registry.names():
    if name.startswith("trading."):
        component = registry.find(name)
        with transaction() as session:
            component.probe(session)
            component.run(session, utcnow())
print([name for name in sys.argv[1:] if name in sys.modules])
"""


@pytest.mark.usefixtures("sqlite_store")
def test_no_ticking_subsystem_loads_a_heavy_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_MARKET_DATA", str(BTC))
    done = subprocess.run(
        [sys.executable, "-c", TICK, *HEAVY], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("sqlite_store")
def test_decisions_of_a_lightgbm_champion_are_derived_anew_while_its_artefact_is_there(
    skilled: scoring.Trained,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = utcnow()
    with transaction() as session:
        artifact, _ = kept(session, skilled.model.content(), BOOSTED, skilled.metrics() | WATCHED)
        assert flow.cycle(session, now, settings())
    span = now - timedelta(minutes=1), now + timedelta(minutes=1)
    with transaction() as session:
        found = replay.replay(session, settings(), *span).decisions
        assert len(found) == 222
        assert all(one.same for one in found)
        assert artifacts.champion(session, BOOSTED)
        session.get_one(trading.ModelArtifact, artifact.id).sha256 = "0" * 64
        session.flush()
        # Another process has not read it yet.
        monkeypatch.setattr(artifacts, "_READ", {})
        lost = replay.replay(session, settings(), *span).decisions
        assert not any(one.same for one in lost)
        assert "missing" in lost[0].differs


@pytest.mark.usefixtures("sqlite_store")
def test_only_challengers_are_considered_and_never_what_was_retired_or_refused() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        for window in (4, 8):
            content = EwmaModel(window, 40, 1e-6).content()
            assert kept(session, content, BASELINE, GOOD | WATCHED)[1] == ""
        poor, _ = kept(session, b"{}", BASELINE, GOOD | WATCHED | {"deflated_sharpe": 0.1})
        before = session.get_one(trading.ModelAlias, BASELINE).artifact_id
        assert component.run(session, utcnow()).observed["considered"] == {}
        assert session.get_one(trading.ModelAlias, BASELINE).artifact_id == before
        assert poor.state == artifacts.REFUSED


@pytest.mark.usefixtures("sqlite_store")
def test_a_challenger_that_cannot_be_read_is_refused_after_its_shadow() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        artifact = component.file(session, BOOSTED, b"half of it", GOOD)
        artifact.trained_at = utcnow() - SHADOW
        component.run(session, utcnow())
        assert artifact.state == artifacts.REFUSED


@pytest.mark.usefixtures("sqlite_store")
def test_a_waiting_challenger_is_watched_on_the_live_feed_before_it_is_promoted() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        # Says nearly one half: no worse than the naive forecast, so the shadow lets it pass.
        artifact = component.file(session, BASELINE, EwmaModel(4, 24, 1e-6).content(), GOOD)
        component.run(session, utcnow())
        assert artifact.state == artifacts.CHALLENGER
        assert "shadow_brier" not in artifact.metrics
        artifact.trained_at = utcnow() - SHADOW
        component.run(session, utcnow())
        assert artifact.metrics["shadow_labels"] >= SHADOW_LABELS
        assert artifact.metrics["shadow_brier"] == pytest.approx(0.25, abs=1e-3)
        assert artifact.state == artifacts.CHAMPION

"""Supervisor and retraining: bias, drift, calibration, triggers, promotion, rollback."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store import contracts, decisions, trading
from homeostat.store.contracts import ContractState
from homeostat.store.database import transaction
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.testing import check_contract
from homeostat.trading.model_supervisor import Outcome
from homeostat.trading.model_supervisor.rules import blocked_side, health_of, rank_of
from homeostat.trading.models import validation
from homeostat.trading.models.agent import ENSEMBLE
from homeostat.trading.models.artifacts import ArtifactError
from homeostat.trading.models.drift import PSI_SHIFT, adwin, counts, page_hinkley, psi
from homeostat.trading.models.promotion import (
    SHADOW,
    SHADOW_LABELS,
    refusal,
)
from homeostat.trading.models.standing import Standing, triggers
from homeostat.trading.signals import EwmaModel
from tests.conftest import forget_settings

GOOD = {
    "deflated_sharpe": 0.95,
    "mean_return": 0.001,
    "brier": 0.24,
    "calibration_error": 0.05,
    "shadow_labels": SHADOW_LABELS,
}


@pytest.mark.parametrize(
    ("longs", "shorts", "side"),
    [
        (19, 0, 0),
        (20, 0, 1),
        (0, 20, -1),
        (70, 30, 0),
        (71, 29, 1),
        (140, 60, 0),
        (141, 60, 1),
        (14, 6, 0),
        (15, 5, 1),
        # Above the share, and once within what chance does.
        (15, 6, 0),
        (16, 5, 1),
    ],
)
def test_a_side_is_blocked_from_twenty_signals_and_seventy_percent(
    longs: int, shorts: int, side: int
) -> None:
    assert blocked_side(longs, shorts) == side


def test_drift_is_found_both_ways_and_steadiness_is_left_alone() -> None:
    draw = np.random.default_rng(4)
    calm = draw.uniform(0.1, 0.3, 250)
    for moved in (calm[:120] + 0.5, np.clip(calm[:120] - 0.3, 0, 1)):
        shifted = np.concatenate([calm + 0.05, moved]).tolist()
        assert adwin(shifted)
        assert page_hinkley(shifted)
    assert not adwin(calm.tolist())
    assert not page_hinkley(calm.tolist())


def test_calibration_error_is_the_gap_in_each_bin() -> None:
    sure = np.full(100, 0.85)
    won = (np.arange(100) < 60).astype(float)
    assert validation.calibration_error(sure, won) == pytest.approx(0.25)
    assert validation.calibration_error(np.full(100, 0.6), won) == pytest.approx(0.0)
    # Each bin counts by what is in it: a quarter of the signals is off by a fifth.
    mixed = np.repeat([0.6, 0.95], [75, 25])
    won = np.concatenate([np.arange(75) < 45, np.arange(25) < 18.75]).astype(float)
    assert validation.calibration_error(mixed, won) == pytest.approx(0.25 * 0.19, abs=1e-9)


@pytest.mark.parametrize(("one", "other", "error"), [(0.65, 0.75, 0.1), (0.61, 0.69, 0.0)])
def test_calibration_has_ten_bins_within_which_errors_cancel(
    one: float, other: float, error: float
) -> None:
    """Each half wins as often as the other half says."""
    sure = np.repeat([one, other], 100)
    won = np.concatenate([np.arange(100) < 100 * other, np.arange(100) < 100 * one]).astype(float)
    assert validation.calibration_error(sure, won) == pytest.approx(error, abs=1e-9)


def test_the_stability_index_knows_another_population() -> None:
    draw = np.random.default_rng(5)
    before = draw.standard_normal(4_000)
    edges = np.quantile(before, np.linspace(0, 1, 11)[1:-1])
    was = counts(before, edges) / 4_000
    assert was == pytest.approx(np.full(10, 0.1))
    assert psi(was, counts(draw.standard_normal(4_000), edges)) < 0.05
    assert psi(was, counts(draw.standard_normal(4_000) + 1, edges)) > PSI_SHIFT


def test_the_rank_is_the_specifications_sum() -> None:
    assert rank_of(0.6, 0.4, 0.1, 2.0) == pytest.approx(0.21 + 0.14 + 0.18 + 0.02)
    assert rank_of(0.6, -3.0, 0.1, 99.0) == pytest.approx(0.21 + 0.18 + 0.10)


@pytest.mark.parametrize(
    ("outcomes", "error", "drifted", "biased", "health"),
    [
        (19, 0.9, True, True, "UNKNOWN"),
        (20, 0.10, False, False, "HEALTHY"),
        (20, 0.101, False, False, "DEGRADED"),
        (20, 0.0, True, False, "DEGRADED"),
        (20, 0.0, False, True, "DEGRADED"),
        (20, 0.9, False, True, "DEGRADED"),
        (20, 0.20, True, True, "DEGRADED"),
        (20, 0.201, True, False, "CRITICAL"),
    ],
)
def test_a_models_health_follows_from_calibration_drift_and_bias(
    outcomes: int,
    error: float,
    drifted: bool,  # noqa: FBT001  # a column of the table above
    biased: bool,  # noqa: FBT001  # as above
    health: str,
) -> None:
    assert health_of(outcomes, error, drifted=drifted, biased=biased) == health


@pytest.mark.usefixtures("store")
def test_the_hours_first_tick_sums_up_what_each_model_did_in_it() -> None:
    component: Any = registry.find("trading.model_supervisor")
    due = utcnow().replace(minute=0, second=0, microsecond=0)
    with transaction() as session:
        for number, (ago, r) in enumerate([(0, 9.0), (1, 2.0), (3_599, -1.0), (3_600, 0.5)]):
            assert component.learn(session, Outcome(f"d{number}", "m", "BTC", 1, 0.7, r))
            outcome = session.get_one(trading.ModelOutcome, f"d{number}")
            outcome.at = due - timedelta(seconds=ago)
        component.observe(session, "idle", 3, 3, {})
        session.flush()
        told = component.run(session, due).observed["hour"]
        assert "hour" not in component.run(session, due + timedelta(minutes=1)).observed
    assert (told["m"]["outcomes"], told["m"]["wins"]) == (3, 2)
    assert told["m"]["mean_r"] == pytest.approx(0.5)
    assert (told["idle"]["outcomes"], told["idle"]["mean_r"]) == (0, None)


@pytest.mark.usefixtures("store")
def test_an_outcome_is_learnt_once_and_judged() -> None:
    component: Any = registry.find("trading.model_supervisor")
    with transaction() as session:
        for n in range(40):
            one = Outcome(f"d{n}", "m", "BTC", 1, 0.9, 1.0 if n < 20 else -1.0)
            assert component.learn(session, one)
            assert not component.learn(session, one)
        component.run(session, utcnow())
        record = session.get_one(trading.ModelRecord, "m")
        assert (record.outcomes, record.wins) == (40, 20)
        assert record.calibration_error == pytest.approx(0.4)
        assert record.health in {"DEGRADED", "CRITICAL"}


@pytest.mark.parametrize(
    ("standing", "reasons"),
    [
        (Standing(), []),
        (Standing(drifted=True), ["DRIFT"]),
        (Standing(health="CRITICAL"), ["HEALTH_CRITICAL"]),
        (Standing(health="DEGRADED"), ["HEALTH_DEGRADED"]),
        (Standing(regime_changed=True), ["REGIME_CHANGE"]),
        (Standing(age=timedelta(days=6.99)), []),
        (Standing(age=timedelta(days=7)), ["AGE"]),
        (Standing(new_samples=49), []),
        (Standing(new_samples=50), ["NEW_SAMPLES"]),
        (Standing(health="CRITICAL", drifted=True), ["HEALTH_CRITICAL", "DRIFT"]),
    ],
)
def test_each_trigger_has_its_threshold(standing: Standing, reasons: list[str]) -> None:
    assert triggers(standing) == reasons


@pytest.mark.parametrize(
    ("more", "promoted"),
    [
        ({}, True),
        ({"deflated_sharpe": 0.949}, False),
        ({"mean_return": 0.0}, False),
        ({"brier": 0.251}, False),
        ({"brier": 0.245}, False),
        ({"calibration_error": 0.061}, False),
        ({"shadow_labels": SHADOW_LABELS - 1}, False),
        ({"shadow_worse": 1.0}, False),
    ],
)
def test_a_challenger_needs_all_its_evidence(
    more: dict[str, float],
    promoted: bool,  # noqa: FBT001  # a pytest parameter
) -> None:
    champion = {**GOOD, "calibration_error": 0.06}
    assert (refusal({**GOOD, **more}, champion, SHADOW) == "") is promoted
    assert refusal({**GOOD, **more}, champion, SHADOW - timedelta(seconds=1)) != ""


def test_a_shadow_takes_four_hours_and_eight_labels() -> None:
    """Both are ours: the specification asks for a shadow period and names none."""
    assert (timedelta(hours=4), 8) == (SHADOW, SHADOW_LABELS)
    watched = {**GOOD, "shadow_labels": 8}
    assert refusal(watched, None, timedelta(hours=4)) == ""
    assert "shadow" in refusal(watched, None, timedelta(hours=4, seconds=-1))
    assert "shadow" in refusal({**watched, "shadow_labels": 7}, None, timedelta(hours=4))


@pytest.mark.parametrize(("brier", "why"), [(0.25, ""), (0.251, "one half")])
def test_better_than_a_poor_champion_is_not_enough(brier: float, why: str) -> None:
    found = refusal({**GOOD, "brier": brier}, {**GOOD, "brier": 0.3}, SHADOW)
    assert why in found
    assert bool(found) is bool(why)


@pytest.mark.usefixtures("store")
def test_a_rollback_restores_the_older_artefact_byte_for_byte() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        contents = (EwmaModel(4, 24, 0.1).content(), EwmaModel(8, 40, 0.2).content())
        for content in contents:
            artifact = component.file(session, "ewma", content, GOOD)
            assert "shadow" in component.consider(session, artifact)
            artifact.trained_at -= SHADOW
            assert component.consider(session, artifact) == ""
        assert component.model(session) == EwmaModel(8, 40, 0.2)
        assert component.rollback(session, "ewma").content == contents[0]
        assert component.model(session) == EwmaModel(4, 24, 0.1)
        kept = session.scalars(select(ModelArtifact)).all()
        assert [(one.content, one.state) for one in sorted(kept, key=lambda one: one.id)] == [
            (contents[0], "CHAMPION"),
            (contents[1], "RETIRED"),
        ]
        with pytest.raises(ArtifactError, match="no older"):
            component.rollback(session, "ewma")


@pytest.mark.usefixtures("sqlite_store")
def test_a_corrupt_artefact_is_refused() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        artifact = component.file(session, "ewma", b"{}", GOOD)
        artifact.trained_at -= SHADOW
        assert component.consider(session, artifact) == ""
        artifact.content = b"{ }"
        with pytest.raises(ArtifactError, match="corrupt"):
            component.model(session)


def test_folds_are_purged_by_the_embargo() -> None:
    folds = list(validation.walk_forward(500, 4, 60))
    assert len(folds) == 4
    for before, test in folds:
        assert test.start - before.stop == 60
    assert folds[-1][1].stop == 500


def test_luck_is_deflated_away_and_skill_is_not() -> None:
    draw = np.random.default_rng(6)
    tries = [draw.normal(0, 1, 100) for _ in range(50)]
    ratios = [validation.sharpe(one) for one in tries]
    best = tries[int(np.argmax(ratios))]
    lucky = validation.deflated_sharpe(best, 50, float(np.var(ratios)))
    assert validation.deflated_sharpe(best, 1, 0.0) > 0.95
    assert lucky < 0.95
    skilled = draw.normal(0.8, 1, 100)
    assert validation.deflated_sharpe(skilled, 50, float(np.var(ratios))) > 0.95


@pytest.mark.parametrize(("tries", "spread"), [(1, 0.0), (50, 0.01)])
def test_the_deflated_sharpe_ratio_is_the_papers_formula(tries: int, spread: float) -> None:
    """Bailey and López de Prado (2014), reckoned by scipy on returns with skew and fat tails."""
    returns = np.random.default_rng(7).gamma(1.5, 1.0, 60) - 1.2
    count, ratio = len(returns), returns.mean() / returns.std(ddof=1)
    lucky = 0.0
    if tries > 1:
        highs = stats.norm.ppf(1 - 1 / tries), stats.norm.ppf(1 - 1 / (tries * np.e))
        lucky = np.sqrt(spread) * ((1 - np.euler_gamma) * highs[0] + np.euler_gamma * highs[1])
    tails = stats.kurtosis(returns, fisher=False)
    width = 1 - stats.skew(returns) * ratio + (tails - 1) / 4 * ratio**2
    expected = stats.norm.cdf((ratio - lucky) * np.sqrt(count - 1) / np.sqrt(width))
    assert 0.05 < expected < 0.999
    assert validation.deflated_sharpe(returns, tries, spread) == pytest.approx(expected)


def test_fewer_than_ten_returns_prove_nothing() -> None:
    returns = np.array([1.0, 2.0] * 5)
    assert validation.deflated_sharpe(returns, 1, 0.0) > 0.9
    assert validation.deflated_sharpe(returns[:9], 1, 0.0) == 0.0


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("own", ["CRITICAL", "DEGRADED"])
def test_the_worse_of_a_models_own_health_and_the_ensembles_counts(own: str) -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    other = "DEGRADED" if own == "CRITICAL" else "CRITICAL"
    with transaction() as session:
        promoted(session, EwmaModel(4, 24, 0.1).content())
        for name, health in (("ewma", own), (ENSEMBLE, other)):
            session.add(trading.ModelRecord(model=name, health=health, drift={}, abstained={}))
        session.flush()
        assert component.standing(session, "ewma").health == "CRITICAL"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", ["model_supervisor", "retraining_orchestrator"])
def test_the_components_keep_the_contract(name: str) -> None:
    with transaction() as session:
        check_contract(registry.find(f"trading.{name}"), session)


def promoted(session: Session, content: bytes) -> ModelArtifact:
    component: Any = registry.find("trading.retraining_orchestrator")
    artifact: ModelArtifact = component.file(session, "ewma", content, GOOD)
    artifact.trained_at -= SHADOW
    assert component.consider(session, artifact) == ""
    return artifact


@pytest.mark.usefixtures("store")
def test_a_promotion_to_bytes_that_do_not_match_is_rolled_back_by_its_contract() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        champion = promoted(session, EwmaModel(4, 24, 0.1).content())
        since = session.get_one(ModelAlias, "ewma").at
        bad = component.file(session, "ewma", EwmaModel(8, 40, 0.2).content(), GOOD)
        bad.trained_at -= SHADOW
        session.flush()
        session.execute(
            update(ModelArtifact).where(ModelArtifact.id == bad.id).values(content=b"damaged")
        )
        assert "corrupt" in component.consider(session, bad)
        alias = session.get_one(ModelAlias, "ewma", populate_existing=True)
        assert (alias.artifact_id, alias.previous_id, alias.at) == (champion.id, None, since)
        assert (champion.state, bad.state) == ("CHAMPION", "REFUSED")
        assert component.model(session) == EwmaModel(4, 24, 0.1)
        kept = [row.state for row in contracts.on(session, "ewma")]
        assert kept == [ContractState.HELD, ContractState.ROLLED_BACK]
        first, second = decisions.on(session, "ewma")
        assert (first.outcome, second.outcome) == ("promoted", "rolled_back")
        assert second.inputs["champion"] == champion.id
        assert "corrupt" in second.rule


@pytest.mark.usefixtures("sqlite_store")
def test_each_promotion_refusal_and_rollback_leaves_a_decision_record() -> None:
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        for window in (4, 8):
            promoted(session, EwmaModel(window, 40, 0.2).content())
        lucky = component.file(session, "ewma", b"{}", {**GOOD, "deflated_sharpe": 0.1})
        assert component.consider(session, lucky)
        component.rollback(session, "ewma")
        made = [(one.action, one.outcome) for one in decisions.on(session, "ewma")]
        assert made == [
            ("model.promote", "promoted"),
            ("model.promote", "promoted"),
            ("model.promote", "refused"),
            ("model.rollback", "rolled back"),
        ]
        clarity: Any = registry.find("kernels.clarity_framework")
        words = clarity.explain(session, decisions.on(session, "ewma")[2].id)
        assert "deflated Sharpe" in words


@pytest.mark.usefixtures("sqlite_store")
def test_a_challenger_waits_where_governance_lets_nothing_act_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_MODE", "OBSERVE")
    forget_settings()
    component: Any = registry.find("trading.retraining_orchestrator")
    with transaction() as session:
        artifact = component.file(session, "ewma", EwmaModel(4, 24, 0.1).content(), GOOD)
        artifact.trained_at -= SHADOW
        assert "OBSERVE" in component.consider(session, artifact)
        assert (artifact.state, session.get(ModelAlias, "ewma")) == ("CHALLENGER", None)
        assert component.probe(session).passed, "and the probe knows that this is right"

"""Replay: every gate is derived anew, and whatever was tampered with is found and named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.cli import run as command_line
from homeostat.settings import settings
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.audit import AuditRow
from homeostat.store.database import reading, transaction
from homeostat.store.trading import (
    Decision,
    DecisionCycle,
    Directive,
    ModelRecord,
    Order,
    Position,
    SafetyPolicy,
    UniverseSnapshot,
    decision_id,
)
from homeostat.trading import flow
from homeostat.trading.market import port
from homeostat.trading.portfolio_balancer import Limits
from homeostat.trading.replay import Report, explain, replay
from tests.component.trading.test_flow import permit, run
from tests.market_moment import MOMENT

Tamper = Callable[[Session], None]


def traded(minutes: int = 2, **more: Any) -> list[flow.Summary]:
    """Let the flow trade for some minutes with every gate open."""
    begin = MOMENT - timedelta(minutes=minutes)
    found = []
    for minute in range(minutes):
        at = begin + timedelta(minutes=minute)
        with transaction() as session:
            permit(session, at, **more)
            kept = store.latest_universe(session)
            assert kept is not None
            kept.expires_at = at + timedelta(minutes=3)
            session.flush()
            found.append(run(session, at))
    return found


def replayed() -> Report:
    with reading() as session:
        now = MOMENT
        return replay(session, settings(), now - timedelta(hours=1), now + timedelta(hours=1))


REPLAY = [
    "trade",
    "replay",
    *("--from", (MOMENT - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")),
    *("--to", MOMENT.strftime("%Y-%m-%dT%H:%M:%S")),
]


def steps(report: Report) -> set[str]:
    return {one.step for one in report.differing} | {one.step for one in report.changed}


def opened() -> Position:
    with reading() as session:
        found = session.scalars(select(Position).where(Position.book == "paper")).first()
        assert found is not None
        return found


@pytest.mark.usefixtures("store")
def test_every_decision_of_an_open_flow_comes_out_the_same_by_every_gate() -> None:
    first, second = traded()
    assert first.opened > 0
    rules = first.rules.keys() | second.rules.keys()
    assert rules >= {"OPENED", "CONFIDENCE_FLOOR", "NOT_IN_UNIVERSE"}, rules
    assert rules & {"CLUSTER_CONCENTRATION", "MAX_POSITIONS_REACHED", "NET_EXPOSURE"}, rules
    report = replayed()
    assert len(report.decisions) == 444
    assert [(one.id, one.step, one.differs) for one in report.differing] == []
    assert (report.changed, report.partly) == ([], 0)


def brake(session: Session) -> None:
    controls.set_on(session, controls.BRAKE, actor="t", reason="r")


def pause(session: Session) -> None:
    controls.set_on(session, controls.TRADING_PAUSED, actor="t", reason="r")


def one_sided(session: Session) -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    supervisor.judge(session, supervisor.observe(session, "ewma", 1_000, 10, {}))


@pytest.mark.parametrize(
    ("before", "more", "rule"),
    [
        (brake, {}, "BRAKE"),
        (pause, {}, "TRADING_PAUSED"),
        (one_sided, {}, "BIAS_BLOCKED"),
        (None, {"policy": "NO_NEW_TRADES"}, "SAFETY_NO_NEW_TRADES"),
        (None, {"allow_new_trades": False}, "DIRECTIVE_FORBIDS"),
        (None, {"max_positions": 1}, "MAX_POSITIONS_REACHED"),
    ],
    ids=lambda one: one if isinstance(one, str) else None,
)
@pytest.mark.usefixtures("sqlite_store")
def test_a_gate_that_was_shut_is_derived_as_shut(
    before: Tamper | None, more: dict[str, Any], rule: str
) -> None:
    if before is not None:
        with transaction() as session:
            before(session)
    (summary,) = traded(1, **more)
    assert rule in summary.rules
    if before is not None:
        # What held then holds no more; the journal tells of it.
        with transaction() as session:
            for switch in (controls.BRAKE, controls.TRADING_PAUSED):
                controls.lift(session, switch)
            session.execute(update(ModelRecord).values(blocked_side=0))
    report = replayed()
    assert (steps(report), len(report.decisions)) == (set(), 222)


def candle(monkeypatch: pytest.MonkeyPatch, symbol: str, factor: float, back: int = 5) -> None:
    """Change one close of one symbol in the data."""
    real = port.Market.panel

    def panel(self: port.Market, at: datetime, bars: int = port.LOOKBACK) -> Any:
        found = real(self, at, bars)
        close = found.close.copy()
        close[found.symbols.index(symbol), -back] *= factor
        return dataclasses.replace(found, close=close)

    monkeypatch.setattr(port.Market, "panel", panel)


@pytest.mark.usefixtures("sqlite_store")
def test_a_tampered_candle_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    traded(1)
    symbol = opened().symbol
    candle(monkeypatch, symbol, 1.05)
    report = replayed()
    assert [one.what for one in report.changed] == [
        f"the bars of {symbol} are not those that were read"
    ]
    (own,) = (one for one in report.differing if one.id.endswith(f".{symbol}"))
    assert own.step == "data"


@pytest.mark.usefixtures("sqlite_store")
def test_a_candle_that_changes_no_decision_is_named_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traded(1)
    candle(monkeypatch, "DOGEUSDT", 1 + 1e-12, back=200)
    report = replayed()
    assert [one.step for one in report.changed] == ["data"]
    assert report.differing == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("rule", "CONFIDENCE_FLOOR"), ("size", 1.0), ("confidence", 0.99), ("stop_loss", 0.5)],
)
@pytest.mark.usefixtures("sqlite_store")
def test_a_tampered_journal_row_is_found_and_named(column: str, value: object) -> None:
    traded(1)
    symbol = opened().symbol
    with transaction() as session:
        session.execute(update(Decision).where(Decision.symbol == symbol).values({column: value}))
    report = replayed()
    assert [one.what for one in report.changed] == [f"the row of {symbol} is not as it was written"]
    (own,) = report.differing
    assert (own.step, own.id.split(".")[1]) == ("journal", symbol)


@pytest.mark.usefixtures("sqlite_store")
def test_a_journal_row_that_is_gone_is_named() -> None:
    traded(1)
    with transaction() as session:
        session.delete(session.scalars(select(Decision).where(Decision.rule == "OPENED")).first())
    (change,) = replayed().changed
    assert (change.step, change.what.endswith("is gone")) == ("journal", True)


@pytest.mark.usefixtures("sqlite_store")
def test_a_tampered_threshold_is_found_and_named_with_both_values() -> None:
    traded(1)
    with transaction() as session:
        session.execute(update(Directive).values(min_confidence=0.999))
    report = replayed()
    assert [one.what for one in report.changed] == [
        "directive 1: min_confidence was 0.65, and is 0.999 now"
    ]
    symbol = opened().symbol
    (own,) = (one for one in report.differing if one.id.endswith(f".{symbol}"))
    assert (own.step, own.differs) == ("confidence", "OPENED, and now CONFIDENCE_FLOOR")


@pytest.mark.usefixtures("sqlite_store")
def test_a_limit_that_the_code_changed_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    traded(1)
    usual = [one.default for one in dataclasses.fields(Limits)]
    assert usual[1] == 0.15
    monkeypatch.setattr(Limits.__init__, "__defaults__", (8, 0.001, *usual[2:]))
    report = replayed()
    assert [one.what for one in report.changed] == [
        "the limit total_risk was 0.15, and is 0.001 now"
    ]
    assert {one.differs for one in report.differing} >= {"OPENED, and now TOTAL_RISK_EXCEEDED"}
    assert {one.step for one in report.differing} == {"balancer"}


@pytest.mark.usefixtures("sqlite_store")
def test_a_universe_that_was_changed_afterwards_is_named() -> None:
    traded(1)
    symbol = opened().symbol
    with transaction() as session:
        universe = store.latest_universe(session)
        assert universe is not None
        universe.selected = [one for one in universe.selected if one != symbol]
    report = replayed()
    assert [one.step for one in report.changed] == ["universe"]
    assert [one.differs for one in report.differing if one.id.endswith(f".{symbol}")] == [
        "OPENED, and now NOT_IN_UNIVERSE"
    ]


@pytest.mark.usefixtures("sqlite_store")
def test_a_policy_that_lived_on_is_no_change_and_one_that_was_cut_short_is() -> None:
    traded(1)
    with transaction() as session:
        policy = store.latest_policy(session)
        assert policy is not None
        # While nothing changes, self_healing lets the row that says so live on.
        policy.expires_at += timedelta(minutes=10)
    report = replayed()
    assert (report.differing, report.changed) == ([], [])
    with transaction() as session:
        session.execute(update(SafetyPolicy).values(expires_at=MOMENT - timedelta(hours=1)))
    report = replayed()
    (change,) = report.changed
    assert change.step == "safety policy"
    assert {one.differs for one in report.differing} >= {"OPENED, and now SAFETY_POLICY_EXPIRED"}


@pytest.mark.usefixtures("sqlite_store")
def test_an_order_and_a_verdict_of_governance_that_are_gone_are_named() -> None:
    traded(1)
    mine = opened().decision_id
    with transaction() as session:
        session.delete(session.get_one(Order, store.client_order_id(mine, "ENTRY")))
    (own,) = replayed().differing
    assert (own.id, own.step) == (mine, "order")
    with transaction() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.payload.contains(mine))).one()
        row.payload = row.payload.replace(mine, "another")
    (own,) = replayed().differing
    assert (own.id, own.step) == (mine, "governance")


@pytest.mark.usefixtures("sqlite_store")
def test_a_decision_outlives_the_rules_that_it_rested_on() -> None:
    traded(1)
    with transaction() as session:
        for model in (Directive, UniverseSnapshot):
            session.execute(model.__table__.delete())  # type: ignore[attr-defined]  # a model's table is a Table at run time
    assert steps(replayed()) == set()


@pytest.mark.usefixtures("sqlite_store")
def test_an_older_journal_is_derived_as_far_as_it_tells() -> None:
    traded(1)
    with transaction() as session:
        row = session.scalars(select(DecisionCycle)).one()
        known = ("source", "newest_bar", "bars", "model", "directive", "universe", "policy")
        row.inputs = {name: row.inputs[name] for name in known}
    report = replayed()
    assert (report.partly, report.differing, report.changed) == (222, [], [])


@pytest.mark.usefixtures("sqlite_store")
def test_the_command_names_the_step_in_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    traded(1)
    assert command_line([*REPLAY, "-o", "table"]) == 0
    assert "222" in capsys.readouterr().out
    with transaction() as session:
        session.execute(update(Directive).values(min_confidence=0.999))
    assert command_line([*REPLAY, "-o", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["differing_at"].keys() == {"confidence"}
    assert found["changed"][0]["step"] == "directive"
    assert command_line([*REPLAY, "-o", "table"]) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "confidence" in told
    assert "0.999" in told


def told(rule: str) -> str:
    with reading() as session:
        row = session.scalars(select(Decision).where(Decision.rule == rule)).first()
        assert row is not None, rule
        return explain(session, decision_id(row.cycle_id, row.symbol), settings())


@pytest.mark.usefixtures("sqlite_store")
def test_an_explanation_tells_the_value_and_the_threshold_of_the_deciding_rule() -> None:
    traded(2, max_positions=2)
    assert "is below 0.6500" in told("CONFIDENCE_FLOOR")
    assert "not below 0.6500, and it risked" in told("OPENED")
    assert "2 were, of at most 2" in told("MAX_POSITIONS_REACHED")
    assert "kept it out" in told("NOT_IN_UNIVERSE")


@pytest.mark.usefixtures("sqlite_store")
def test_an_explanation_measures_what_the_balancer_denied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = [one.default for one in dataclasses.fields(Limits)]
    monkeypatch.setattr(Limits.__init__, "__defaults__", (8, 0.002, *usual[2:]))
    traded(1)
    sentence = told("TOTAL_RISK_EXCEEDED")
    assert "% of equity, of at most 0.20%" in sentence
    measured = float(sentence.split("limit: ")[1].split("%")[0])
    assert measured > 0.20
    assert np.isfinite(measured)

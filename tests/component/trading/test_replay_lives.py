"""Replay of what became of positions: exits, orders, adds and blocks are derived, not believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store import trading as store
from homeostat.store.audit import AuditRow
from homeostat.store.database import reading, transaction
from homeostat.store.trading import (
    Decision,
    DecisionCycle,
    EquityPoint,
    ModelOutcome,
    ModelRecord,
    Order,
    Position,
    Reservation,
)
from homeostat.trading.replay import Report, explain, replay
from tests.component.trading.test_flow import permit, run
from tests.conftest import forget_settings
from tests.market_moment import MOMENT

FAR = MOMENT + timedelta(days=2)
Tamper = Callable[[Session], None]


def leave(session: Session, at: datetime, **more: Any) -> None:
    """Give leave to trade, and a policy and a directive that say `more`, for days."""
    permit(session, at, **more)
    rules = store.latest_directive(session), store.latest_policy(session)
    for one in (*rules, store.latest_universe(session)):
        assert one is not None
        one.expires_at = FAR


def lived(minutes: int, **rules: Any) -> None:
    """Let the flow trade so many minutes from MOMENT on; `rules` are leaves by the minute."""
    for minute in range(minutes):
        at = MOMENT + timedelta(minutes=minute)
        with transaction() as session:
            more = rules.get(f"at_{minute}")
            if minute == 0 or more is not None:
                leave(session, at, **(more or {}))
            run(session, at)


def replayed(first: int = 0, last: int = 200) -> Report:
    with reading() as session:
        since, until = (MOMENT + timedelta(minutes=one) for one in (first, last))
        return replay(session, settings(), since, until)


def found(report: Report) -> list[tuple[str, ...]]:
    """Return all that a report complains of."""
    lives = [(one.id, one.step, one.differs) for one in (*report.differing, *report.otherwise)]
    return [*lives, *((one.cycle, one.step, one.what) for one in report.changed)]


def ended() -> Counter[str]:
    with reading() as session:
        return Counter(session.scalars(select(Position.exit_rule)))


#: Nothing, two positions, the half of each taken off, and the rest closed.
SHORT: dict[str, Any] = {
    "at_0": {"allow_new_trades": False},
    "at_1": {"max_positions": 2},
    "at_2": {"reduce_global_risk": True, "allow_new_trades": False},
    "at_3": {"policy": "EMERGENCY_SHUTDOWN"},
}


@pytest.mark.usefixtures("store")
def test_whatever_became_of_positions_comes_out_the_same() -> None:
    """Bars, labels, the trailing stop and the time barrier, by themselves."""
    lived(64)
    assert sum(count for rule, count in ended().items() if rule) >= 8
    report = replayed()
    assert found(report) == []
    assert (len(report.positions), report.quoted) == (sum(ended().values()), [])
    assert report.blocks == 64


@pytest.mark.parametrize(
    ("rules", "kind", "exit_rule"),
    [
        (SHORT, "SAFETY_REDUCE", "SAFETY_EMERGENCY_SHUTDOWN"),
        ({"at_1": {"policy": "DEFENSIVE_EXIT"}}, "STOP", ""),
    ],
    ids=["reduced and shut down", "defended"],
)
@pytest.mark.usefixtures("store")
def test_what_policy_and_directive_did_to_positions_is_derived(
    rules: dict[str, Any], kind: str, exit_rule: str
) -> None:
    lived(4, **rules)
    with reading() as session:
        assert kind in set(session.scalars(select(Order.kind)))
    assert ended()[exit_rule] > 0
    report = replayed()
    assert (found(report), report.quoted) == ([], [])
    assert len(report.positions) > 0


@pytest.mark.usefixtures("sqlite_store")
def test_a_span_that_begins_within_a_life_is_derived_from_its_beginning() -> None:
    lived(6, at_4={"policy": "EMERGENCY_SHUTDOWN"})
    report = replayed(3, 6)
    assert (found(report), report.quoted) == ([], [])
    assert len(report.decisions) == 3 * 222
    assert {one.rule for one in report.positions} >= {"SAFETY_EMERGENCY_SHUTDOWN"}
    with transaction() as session:
        session.execute(update(Position).values(exit_rule="STOP_LOSS"))
    assert {one.step for one in replayed(3, 6).otherwise} == {"exit"}


@pytest.mark.usefixtures("sqlite_store")
def test_a_position_that_a_pause_outlived_is_derived_in_the_span_that_found_its_end() -> None:
    """The first cycle after three hours sees the bars that ended positions long before it."""
    lived(2)
    with transaction() as session:
        run(session, MOMENT + timedelta(minutes=180))
    assert sum(count for rule, count in ended().items() if rule) > 0
    report = replayed(170, 190)
    assert (found(report), report.quoted) == ([], [])
    assert {one.rule for one in report.positions} >= set(ended()) - {""}


def tampered(change: Any) -> Report:
    """Replay a store in which one thing was changed, and take the change back."""
    with transaction() as session:
        savepoint = session.begin_nested()
        result: Any = session.execute(change)
        assert result.rowcount == 1
        report = replay(session, settings(), MOMENT, FAR)
        savepoint.rollback()
        session.expire_all()
        return report


def other(value: Any, column: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return -value if column.key == "side" else value + 1
    if isinstance(value, float):
        return value * 1.001 + 1e-6
    if isinstance(value, datetime):
        return value + timedelta(hours=1)
    if isinstance(value, str):
        return "another"
    return MOMENT if column.key.endswith("_at") else 1.0


#: Names of rows that nothing else refers to.
EXCUSED = {("positions", "id")}


def row_changes(session: Session) -> Iterator[tuple[str, Any]]:
    """Yield a change of each column of one row of each kind that a replay looks at."""
    decision = session.scalars(select(Position.decision_id)).first()
    assert decision is not None
    cycle, _, symbol = decision.partition(".")
    rows = [
        (Decision, (Decision.cycle_id == cycle) & (Decision.symbol == symbol)),
        (Decision, (Decision.cycle_id == cycle) & (Decision.symbol == "BTCUSDT")),
        (Position, Position.decision_id == decision),
        *(
            (Order, (Order.decision_id == decision) & (Order.kind == kind))
            for kind in ("ENTRY", "STOP", "TAKE_PROFIT", "SAFETY_REDUCE", "CLOSE")
        ),
        (Reservation, Reservation.decision_id == decision),
        (ModelOutcome, ModelOutcome.decision_id == decision),
        (EquityPoint, EquityPoint.at == MOMENT + timedelta(minutes=2)),
    ]
    for model, where in rows:
        table: Any = model.__table__
        row = session.execute(select(table).where(where)).one()
        for column in table.c:
            if (table.name, column.key) in EXCUSED or column.foreign_keys:
                continue
            value = other(getattr(row, column.key), column)
            yield (
                f"{table.name}.{column.key}",
                update(table).where(where).values({column.key: value}),
            )
        yield f"{table.name} gone", delete(table).where(where)


@pytest.mark.slow
@pytest.mark.usefixtures("sqlite_store")
def test_no_change_of_what_was_written_goes_unnoticed() -> None:
    lived(4, **SHORT)
    assert found(replayed()) == []
    with reading() as session:
        changes = list(row_changes(session))
    unnoticed = [name for name, change in changes if tampered(change).sound]
    assert unnoticed == []
    assert len(changes) > 150
    assert found(replayed()) == []


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value of a JSON document that holds no others."""
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list) and value:
        for place, one in enumerate(value):
            yield from leaves(one, (*path, place))
    else:
        yield path


def with_other(document: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        if isinstance(document, bool):
            return not document
        return document * 1.001 + 1 if isinstance(document, int | float) else "another"
    changed = dict(document) if isinstance(document, dict) else list(document)
    changed[path[0]] = with_other(changed[path[0]], path[1:])
    return changed


#: What a replay reads where it stands, and says so: a switch that closed nothing, and the mode.
LOOKED_UP = [("inputs", "ground", "switches"), ("inputs", "supervisor", "enforced")]


@pytest.mark.slow
@pytest.mark.usefixtures("sqlite_store")
def test_no_change_of_a_cycles_head_goes_unnoticed() -> None:
    lived(4, **SHORT)
    table: Any = DecisionCycle.__table__
    where = table.c.due_at == MOMENT + timedelta(minutes=2)
    with reading() as session:
        row = session.execute(select(table).where(where)).one()
    unnoticed, asked = [], 0
    for name in ("inputs", "counts"):
        document = getattr(row, name)
        for path in leaves(document):
            change = update(table).where(where).values({name: with_other(document, path)})
            asked += 1
            if tampered(change).sound:
                unnoticed.append((name, *path))
        for key in document:
            rest = {one: value for one, value in document.items() if one != key}
            asked += 1
            if tampered(update(table).where(where).values({name: rest})).sound:
                unnoticed.append((name, f"without {key}"))
    for name, value in (("due_at", MOMENT + timedelta(seconds=140)), ("book", "canary")):
        if tampered(update(table).where(where).values({name: value})).sound:
            unnoticed.append((name,))
    assert unnoticed == LOOKED_UP
    assert asked > 40


@pytest.mark.usefixtures("sqlite_store")
def test_a_cycle_that_is_gone_is_named_by_the_equity_that_it_left() -> None:
    lived(5, **SHORT)
    with transaction() as session:
        gone = session.scalars(
            select(DecisionCycle.id).where(DecisionCycle.due_at == MOMENT + timedelta(minutes=4))
        ).one()
        session.execute(delete(Decision).where(Decision.cycle_id == gone))
        session.execute(delete(DecisionCycle).where(DecisionCycle.id == gone))
    report = replayed()
    assert [one.step for one in report.changed] == ["journal"]
    assert "12:34:00+00:00 is gone" in report.changed[0].what


def supervisor() -> Any:
    return registry.find("trading.model_supervisor")


def blocked(minutes: int = 4) -> None:
    """Let the supervisor judge a model that only ever bought, and the flow go on by its verdict."""
    with transaction() as session:
        supervisor().observe(session, "ewma", 1_000, 10, {})
    for minute in range(minutes):
        at = MOMENT + timedelta(minutes=minute)
        with transaction() as session:
            if minute == 0:
                leave(session, at)
            supervisor().run(session, at)
            run(session, at)


@pytest.mark.usefixtures("store")
def test_a_blocked_side_is_derived_from_the_counts_that_it_was_judged_on() -> None:
    blocked()
    with transaction() as session:
        rules = set(session.scalars(select(Decision.rule)))
        assert "BIAS_BLOCKED" in rules
        # The record moves on; the journal tells what it was.
        session.execute(update(ModelRecord).values(blocked_side=0, judged_longs=0.0))
    report = replayed()
    assert (found(report), report.blocks, report.quoted) == ([], 4, [])


def head(session: Session, minute: int) -> DecisionCycle:
    statement = select(DecisionCycle).where(
        DecisionCycle.due_at == MOMENT + timedelta(minutes=minute)
    )
    return session.scalars(statement).one()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("judged", [10.0, 10.0], "come to 0"),
        ("judged", None, "come to 0"),
        ("judged", [999.0, 10.0], "which no cycle before counted"),
        ("counted", [1.0, 1.0], "the signals counted were [1.0, 1.0]"),
        ("enforced", False, "come to 0"),
        ("side", 0, "the side blocked was 0"),
    ],
)
@pytest.mark.usefixtures("sqlite_store")
def test_a_verdict_that_does_not_follow_from_what_was_counted_is_found(
    name: str, value: object, word: str
) -> None:
    blocked()
    with transaction() as session:
        row = head(session, 2)
        row.inputs = {**row.inputs, "supervisor": {**row.inputs["supervisor"], name: value}}
    report = replayed()
    assert {one.step for one in report.changed} == {"supervisor"}
    assert word in " ".join(one.what for one in report.changed)
    # A side that nobody should have blocked is a decision that comes out otherwise.
    assert bool(report.differing) is ("come to 0" in word)


@pytest.mark.usefixtures("sqlite_store")
def test_a_block_that_somebody_wrote_into_the_record_is_found() -> None:
    with transaction() as session:
        supervisor().observe(session, "ewma", 10, 10, {})
        supervisor().run(session, MOMENT)
        session.execute(update(ModelRecord).values(blocked_side=1))
        session.expire_all()
        leave(session, MOMENT)
        run(session, MOMENT)
    report = replayed()
    assert {one.step for one in report.changed} == {"supervisor"}
    assert "BIAS_BLOCKED" in {one.rule for one in report.differing}


@pytest.mark.usefixtures("sqlite_store")
def test_an_older_journal_quotes_the_block_and_says_so() -> None:
    blocked(1)
    with transaction() as session:
        row = head(session, 0)
        told = dict(row.inputs)
        told["blocked_side"] = told.pop("supervisor")["side"]
        del told["adds"]
        row.inputs = told
    report = replayed()
    assert (found(report), report.blocks) == ([], 0)
    assert [one.what for one in report.quoted] == ["supervisor's block"]
    assert report.as_json()["quoted_not_derived"] == {"supervisor's block": 1}


@pytest.mark.usefixtures("sqlite_store")
def test_a_life_at_an_outside_venue_is_quoted_and_has_to_agree_with_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lived(4, **SHORT)
    monkeypatch.setenv("HOMEOSTAT_VENUE", "loopback")
    monkeypatch.setenv("HOMEOSTAT_VENUE_URL", "http://127.0.0.1:1")
    forget_settings()
    report = replayed()
    assert found(report) == []
    assert {one.what for one in report.quoted} == {"position"}
    assert {one.why for one in report.quoted} == {"its fills are those of an outside venue"}
    with transaction() as session:
        session.execute(update(Position).values(realised=Position.realised + 1.0))
    assert {one.step for one in replayed().otherwise} == {"outcome"}
    with transaction() as session:
        session.execute(update(Position).values(exit_rule=""))
    assert {one.step for one in replayed().otherwise} == {"exit"}


@pytest.mark.usefixtures("sqlite_store")
def test_an_explanation_says_how_the_position_ended() -> None:
    lived(4, **SHORT)
    with reading() as session:
        position = session.scalars(select(Position)).first()
        assert position is not None
        sentence = explain(session, position.decision_id, settings())
    assert "it was closed by SAFETY_EMERGENCY_SHUTDOWN (the safety policy was" in sentence
    assert "at 2026-01-05 12:33:00 UTC for" in sentence


@pytest.mark.usefixtures("sqlite_store")
def test_an_add_is_derived_from_what_the_balancer_was_shown_and_governance_logged() -> None:
    lived(34)
    with reading() as session:
        add = session.scalars(select(Order).where(Order.kind == "ADD1")).first()
        assert add is not None
        mine = add.decision_id
        asked = [
            one
            for one in session.scalars(select(DecisionCycle).order_by(DecisionCycle.id))
            if mine in one.inputs["adds"]
        ]
    assert found(replayed()) == []
    (cycle, *_), told = asked, asked[0].inputs
    where = DecisionCycle.id == cycle.id
    poor = {**told["adds"], mine: {**told["adds"][mine], "equity": 1.0}}
    more = {**told["adds"], "c.X": {}}
    for adds, step in ((poor, "entry"), ({}, "balancer"), (more, "balancer")):
        change = update(DecisionCycle).where(where).values(inputs={**told, "adds": adds})
        assert step in {one[1] for one in found(tampered(change))}, adds
    with reading() as session:
        of_adds = select(AuditRow.sequence).where(AuditRow.resource == "trade.add")
        row = session.scalars(of_adds.where(AuditRow.payload.contains(mine))).first()
    report = tampered(update(AuditRow).where(AuditRow.sequence == row).values(payload="{}"))
    assert "governance" in {one.step for one in report.changed}
    assert mine in {one.id for one in report.otherwise}

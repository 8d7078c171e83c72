"""What fails around the flow closes entries by name and leaves exits open."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.settings import settings
from homeostat.store import controls, trading
from homeostat.store.database import transaction
from homeostat.store.trading import (
    PAPER,
    Decision,
    Directive,
    ModelRecord,
    Order,
    Position,
    Reservation,
    SafetyPolicy,
    UniverseSnapshot,
)
from homeostat.trading import flow
from homeostat.trading.health import VENUE_BANNED
from tasks import trade
from tests.component.trading.test_flow import opened, permit, run, touch_all_stops
from tests.market_moment import MOMENT


def minute_later(session: Session) -> tuple[datetime, list[Position]]:
    """Open positions now, put their stops where the next bar must touch them."""
    now = MOMENT
    held = opened(session, now)
    touch_all_stops(session)
    return now + timedelta(minutes=1), held


def ban(session: Session) -> None:
    controls.set_on(session, VENUE_BANNED, actor="test", reason="418")


def far_away(held: list[Position]) -> None:
    """Move every stop and target to where no bar touches them."""
    for one in held:
        one.stop = one.entry * (1 - one.side * 0.5)
        one.take_profit = one.entry * (1 + one.side * 0.5)


def expire_universe(session: Session) -> None:
    session.execute(update(UniverseSnapshot).values(expires_at=MOMENT - timedelta(days=1)))


def expire_policy(session: Session) -> None:
    session.execute(update(SafetyPolicy).values(expires_at=MOMENT - timedelta(days=1)))


def expire_directive(session: Session) -> None:
    session.execute(update(Directive).values(expires_at=MOMENT - timedelta(days=1)))


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("fail", "rule"),
    [
        (ban, "VENUE_BANNED"),
        (expire_universe, "UNIVERSE_EXPIRED"),
        (expire_policy, "SAFETY_POLICY_EXPIRED"),
        (expire_directive, "DIRECTIVE_EXPIRED"),
    ],
)
def test_a_failure_stops_every_entry_by_its_name_and_no_exit(fail: Any, rule: str) -> None:
    with transaction() as session:
        later, held = minute_later(session)
        fail(session)
        summary = run(session, later)
        assert summary.rules == {rule: 222}
        assert summary.closed == len(held)
        assert trading.open_positions(session, PAPER) == []


@pytest.mark.usefixtures("sqlite_store")
def test_an_empty_universe_opens_nothing_and_exits_go_on() -> None:
    with transaction() as session:
        later, held = minute_later(session)
        permit(session, later)
        newest = trading.latest_universe(session)
        assert newest is not None
        session.add(
            UniverseSnapshot(
                at=later,
                expires_at=later + timedelta(minutes=2),
                mode=newest.mode,
                profile=newest.profile,
                rebuilt_at=later,
                selected=[],
                excluded={},
            )
        )
        session.flush()
        summary = run(session, later)
        assert summary.rules == {"UNIVERSE_EMPTY": 222}
        assert summary.closed == len(held)


@pytest.mark.usefixtures("store")
def test_a_subsystem_that_breaks_off_is_undone_and_the_task_runs_the_tick_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BreaksOff:
        def count(self, session: Session, *_counted: object) -> int:
            session.add(ModelRecord(model="half", drift={}, abstained={}))
            session.flush()
            raise RuntimeError("broken off")

    def find(name: str) -> Any:
        return BreaksOff() if name == "trading.model_supervisor" else registry.find(name)

    with transaction() as session:
        later, held = minute_later(session)
        permit(session, later)
    with pytest.raises(flow.PartyFailedError), transaction() as session:
        flow.cycle(session, later, settings(), find=find, careful=False)
    cycle = flow.cycle
    monkeypatch.setattr(
        flow, "cycle", lambda *given, **more: cycle(*given, **{**more, "find": find})
    )
    done = trade.cycle(due_at=later.isoformat())
    assert done is not None
    assert done["rules"]["MODEL_SUPERVISOR_AWAY"] > 0
    assert done["closed"] == len(held)
    with transaction() as session:
        assert session.get(ModelRecord, "half") is None
        assert session.scalar(select(func.count()).select_from(Decision)) == 2 * 222


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("policy", "closed", "tightened"),
    [
        ("EMERGENCY_SHUTDOWN", True, False),
        ("DEFENSIVE_EXIT", False, True),
        ("NO_NEW_TRADES", False, False),
    ],
)
def test_the_safety_policy_takes_positions_off_by_its_degree(
    policy: str,
    closed: bool,  # noqa: FBT001  # a case of the table above
    tightened: bool,  # noqa: FBT001  # as above
) -> None:
    now = MOMENT
    with transaction() as session:
        held = opened(session, now)
        for one in held:
            # Far away, so that no bar touches them.
            one.stop, one.take_profit = (
                one.entry * (1 - one.side * 0.5),
                one.entry * (1 + one.side * 0.5),
            )
        before = {one.id: abs(one.entry - one.stop) for one in held}
        permit(session, now, policy=policy)
        summary = run(session, now + timedelta(minutes=1))
        assert summary.closed == (len(held) if closed else 0)
        if closed:
            assert {one.exit_rule for one in held} == {f"SAFETY_{policy}"}
        else:
            moved = [abs(one.mark - one.stop) < 0.8 * before[one.id] for one in held]
            assert moved == [tightened] * len(held)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("in_force", [True, False])
def test_only_a_directive_in_force_reduces_the_book_and_only_once(
    in_force: bool,  # noqa: FBT001  # either side
) -> None:
    now = MOMENT
    with transaction() as session:
        held = opened(session, now)
        for one in held:
            one.stop, one.take_profit = (
                one.entry * (1 - one.side * 0.5),
                one.entry * (1 + one.side * 0.5),
            )
        until = now + timedelta(minutes=9 if in_force else -9)
        permit(session, now, reduce_global_risk=True, allow_new_trades=False, expires_at=until)
        session.execute(
            update(SafetyPolicy).values(policy="ALLOW_ALL", expires_at=now + timedelta(minutes=9))
        )
        for minute in (1, 2):
            run(session, now + timedelta(minutes=minute))
        shares = {round(one.quantity / one.first_quantity, 9) for one in held}
        assert shares == ({0.5} if in_force else {1.0})
        kinds = session.scalars(select(Order.kind).where(Order.kind == "SAFETY_REDUCE")).all()
        assert len(kinds) == (len(held) if in_force else 0)


@pytest.mark.usefixtures("sqlite_store")
def test_an_entry_whose_stop_does_not_rest_is_closed_at_once_and_gives_its_room_back() -> None:
    dropped = (
        "CREATE TRIGGER dropped AFTER INSERT ON orders WHEN NEW.kind = 'STOP' "
        "BEGIN DELETE FROM orders WHERE client_id = NEW.client_id; END"
    )
    with transaction() as session:
        session.connection().exec_driver_sql(dropped)
        permit(session, MOMENT)
        summary = run(session, MOMENT)
        assert summary.opened == 0
        assert summary.rules["NO_RESTING_STOP"] > 0
        assert trading.open_positions(session, PAPER) == []
        ended = session.scalars(select(Position.exit_rule)).all()
        assert set(ended) == {"NO_RESTING_STOP"}
        assert len(ended) == summary.rules["NO_RESTING_STOP"]
        held = select(func.count()).select_from(Reservation).where(Reservation.state == "HELD")
        assert session.scalar(held) == 0

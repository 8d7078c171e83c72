"""One open position, bar by bar: what it is seen as, and what is done about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.store import controls, trading
from homeostat.store.database import transaction
from homeostat.store.trading import PAPER, Directive, Order, PolicyHead, Position
from homeostat.trading.authority import Wants
from homeostat.trading.flow import exits
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import USUAL_FLOOR, VENUE_UNRECONCILED, Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.health import VENUE_BANNED
from homeostat.trading.market.panel import BAR_S, Floats, Instrument, Panel
from tests.market_moment import MOMENT
from tests.positions import held_position

COIN = "BTCUSDT"
LATER = MOMENT + timedelta(minutes=9)


def order(**more: Any) -> Directive:
    usual = {"expires_at": LATER, "mode": "NORMAL", "allow_new_trades": True}
    usual |= {"reduce_global_risk": False, "min_confidence": 0.8}
    return Directive(version=1, **{**usual, **more})


def ground(*switches: str, policy: str | None = "ALLOW_ALL", **more: Any) -> Ground:
    head = None if policy is None else PolicyHead("p", LATER, policy)
    return Ground(MOMENT, frozenset(switches), head, order(**more))


def bars(close: Floats) -> Panel:
    """Return the bars of the coin of which the last one closes at the moment."""
    flat = close[None, :]
    last = int(MOMENT.timestamp()) - BAR_S
    times = last - BAR_S * np.arange(len(close) - 1, -1, -1, dtype=np.int64)
    return Panel((COIN,), times, flat, flat, flat, flat, np.ones_like(flat))


def columns(panel: Panel) -> list[Floats]:
    return [panel.open, panel.high, panel.low, panel.close, panel.volume]


def hold(session: Session, **more: Any) -> Position:
    """Hold 10 at 100 with an R of 2, marked by all bars but the last, barriers out of reach."""
    usual: dict[str, Any] = {
        "decision_id": f"c.{COIN}",
        "symbol": COIN,
        "stop": 1.0,
        "take_profit": 900.0,
        "trail": 0.99,
        "partial": 0.4,
        "costs": 0.0,
        "realised": 0.0,
        "adds": 0,
        "bars": 5,
        "marked_at": MOMENT - timedelta(minutes=1),
    }
    position = held_position(**{**usual, **more})
    session.add(position)
    session.flush()
    return position


def manage(session: Session, close: Floats, found: Ground | None = None) -> exits.Exits:
    listed = {COIN: Instrument(COIN, base="BTC")}
    floor = Floor(session, bars(close), listed, Parties(session), found or ground())
    done = exits.manage(floor, PAPER)
    session.expire_all()
    return done


def stretch(far: float, near: float, last: float) -> Floats:
    """Return closes that lie at `far` until 15 bars ago, at `near` from then on, then `last`."""
    close = np.full(130, far)
    close[-15:-1], close[-1] = near, last
    return close


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("far", "near", "label"), [(120.0, 101.0, "WINNER"), (90.0, 104.0, "SAFE")]
)
def test_a_winner_goes_up_over_ten_bars_whatever_was_before(
    far: float, near: float, label: str
) -> None:
    with transaction() as session:
        one = hold(session, pending_label="WINNER")
        manage(session, stretch(far, near, 102.5))
        assert (one.label, one.bars, one.peak_r) == (label, 6, 1.25)


@pytest.mark.usefixtures("sqlite_store")
def test_a_missing_bar_is_none_and_labels_nothing() -> None:
    with transaction() as session:
        one = hold(session, pending_label="WINNER")
        close = stretch(120.0, 101.0, 102.5)
        close[-1] = np.nan
        done = manage(session, close)
        assert (one.label, one.bars, one.mark) == ("SAFE", 5, 100.0)
        assert [held.symbol for held in done.held] == [COIN]


@pytest.mark.usefixtures("sqlite_store")
def test_a_symbol_without_prices_is_held_and_said_to_have_none() -> None:
    with transaction() as session:
        hold(session, symbol="GONEUSDT")
        done = manage(session, np.full(130, 100.0))
        assert done.unpriced == ["GONEUSDT"]
        assert [held.symbol for held in done.held] == ["GONEUSDT"]


def wild(top: float) -> Floats:
    """Return closes that end at `top` after fifteen wild steps, up on the whole."""
    steps = np.concatenate([np.tile((1e-5, -1e-5), 57), np.tile((0.012, -0.003), 8)[:15]])
    close = np.exp(np.cumsum(steps))
    found: Floats = top * close / close[-1]
    return found


@pytest.mark.usefixtures("sqlite_store")
def test_a_high_winner_in_a_wild_market_is_taken_partly_and_once() -> None:
    with transaction() as session:
        one = hold(session, label="WINNER", pending_label="WINNER")
        assert manage(session, wild(106.1)).reduced == 1
        assert (one.quantity, one.partial_taken) == (6.0, True)
        one.marked_at -= timedelta(minutes=1)
        assert manage(session, wild(106.2)).reduced == 0
        assert one.quantity == 6.0
        taken = select(Order.kind).where(Order.kind != "STOP")
        assert session.scalars(taken).all() == ["PARTIAL"]


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize(
    ("mode", "advice"), [("NORMAL", "EXTEND_HOLD"), ("AGGRESSIVE", "EXTEND_HOLD"), ("SAFE", "HOLD")]
)
def test_a_winner_that_was_added_to_twice_is_given_time_in_a_mode_that_dares(
    mode: str, advice: str
) -> None:
    with transaction() as session:
        one = hold(session, label="WINNER", pending_label="WINNER", adds=2)
        manage(session, stretch(90.0, 101.0, 103.0), ground(mode=mode))
        assert (one.label, one.advice == "EXTEND_HOLD") == ("WINNER", advice == "EXTEND_HOLD")


@pytest.mark.usefixtures("sqlite_store")
def test_a_loser_is_halved_once() -> None:
    with transaction() as session:
        one = hold(session, label="LOSER", pending_label="LOSER")
        assert manage(session, np.full(130, 98.9)).reduced == 1
        assert one.quantity == 5.0
        one.marked_at -= timedelta(minutes=1)
        assert manage(session, np.full(130, 98.8)).reduced == 0
        assert one.quantity == 5.0


@pytest.mark.usefixtures("sqlite_store")
def test_a_gain_that_was_half_given_back_has_its_stop_brought_to_half_an_r() -> None:
    with transaction() as session:
        one = hold(session, peak_r=1.0)
        manage(session, np.full(130, 100.9))
        assert (one.label, one.advice) == ("SAFE", "TIGHTEN_SL")
        assert one.stop == pytest.approx(100.9 - 0.5 * 2.0)


@pytest.mark.usefixtures("sqlite_store")
@pytest.mark.parametrize("since", [1, 3])
def test_every_bar_since_the_last_look_happens_once(since: int) -> None:
    with transaction() as session:
        one = hold(session, marked_at=MOMENT - timedelta(minutes=since))
        manage(session, np.full(130, 100.0))
        assert (one.bars, one.marked_at) == (5 + since, MOMENT)
        manage(session, np.full(130, 100.0))
        assert one.bars == 5 + since


@pytest.mark.usefixtures("sqlite_store")
def test_who_missed_minutes_catches_up_beside_who_did_not() -> None:
    with transaction() as session:
        late = hold(session, marked_at=MOMENT - timedelta(minutes=3))
        other = hold(session, decision_id="c.ETHUSDT", symbol="ETHUSDT")
        seen = bars(np.full(130, 100.0))
        both = Panel(
            (COIN, "ETHUSDT"), seen.times, *(np.repeat(one, 2, axis=0) for one in columns(seen))
        )
        listed = {symbol: Instrument(symbol, base=symbol) for symbol in both.symbols}
        exits.manage(Floor(session, both, listed, Parties(session), ground()), PAPER)
        session.expire_all()
        assert (late.bars, other.bars) == (8, 6)


@pytest.mark.parametrize(
    ("found", "claims"),
    [
        (ground(), []),
        (ground(controls.BRAKE), [("brake", Wants.NO_ADD, "BRAKE")]),
        (ground(controls.TRADING_PAUSED), [("safety", Wants.NO_ADD, "TRADING_PAUSED")]),
        (ground(VENUE_BANNED), [("execution", Wants.NO_ADD, "VENUE_BANNED")]),
        (ground(VENUE_UNRECONCILED), [("execution", Wants.NO_ADD, "VENUE_UNRECONCILED")]),
        (ground(allow_new_trades=False), [("safety", Wants.NO_ADD, "DIRECTIVE_FORBIDS")]),
        (ground(policy=None), [("safety", Wants.NO_ADD, "SAFETY_POLICY_MISSING")]),
        (ground(reduce_global_risk=True), [("safety", Wants.REDUCE, "REDUCE_GLOBAL_RISK")]),
        (
            ground(policy="EMERGENCY_SHUTDOWN"),
            [
                ("safety", Wants.EXIT, "EMERGENCY_SHUTDOWN"),
                ("safety", Wants.NO_ADD, "SAFETY_EMERGENCY_SHUTDOWN"),
            ],
        ),
        (
            ground(policy="DEFENSIVE_EXIT"),
            [
                ("safety", Wants.TIGHTEN_SL, "DEFENSIVE_EXIT"),
                ("safety", Wants.NO_ADD, "SAFETY_DEFENSIVE_EXIT"),
            ],
        ),
        # What has run out asks for nothing any more, and forbids adding.
        (
            Ground(MOMENT, frozenset(), PolicyHead("p", MOMENT, "EMERGENCY_SHUTDOWN"), order()),
            [("safety", Wants.NO_ADD, "SAFETY_POLICY_EXPIRED")],
        ),
        (
            ground(reduce_global_risk=True, expires_at=MOMENT),
            [("safety", Wants.NO_ADD, "DIRECTIVE_EXPIRED")],
        ),
    ],
)
def test_what_is_in_force_claims_in_its_own_name(
    found: Ground, claims: list[tuple[str, Wants, str]]
) -> None:
    assert [(one.authority, one.wants, one.why) for one in found.claims(COIN)] == claims


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (ground(controls.BRAKE, controls.TRADING_PAUSED, VENUE_BANNED, policy=None), "BRAKE"),
        (ground(controls.TRADING_PAUSED, VENUE_BANNED, policy=None), "TRADING_PAUSED"),
        (ground(VENUE_BANNED, policy=None), "SAFETY_POLICY_MISSING"),
        (ground(VENUE_BANNED, policy="NO_NEW_TRADES"), "SAFETY_NO_NEW_TRADES"),
        (ground(VENUE_BANNED, expires_at=MOMENT), "VENUE_BANNED"),
        (ground(expires_at=MOMENT, allow_new_trades=False), "DIRECTIVE_EXPIRED"),
        (
            Ground(MOMENT, frozenset(), PolicyHead("p", LATER, "ALLOW_ALL"), None),
            "DIRECTIVE_MISSING",
        ),
    ],
)
def test_of_several_that_forbid_the_first_of_the_flows_order_is_named(
    found: Ground, rule: str
) -> None:
    assert found.entry_rule() == rule


def test_without_a_directive_in_force_the_mode_is_the_most_careful() -> None:
    assert (ground().mode, ground().floor) == ("NORMAL", 0.8)
    assert ground(expires_at=MOMENT).mode == "CRITICAL"
    assert Ground(MOMENT, frozenset(), None, None).mode == "CRITICAL"
    assert Ground(MOMENT, frozenset(), None, None).floor == USUAL_FLOOR == 0.65


@pytest.mark.usefixtures("sqlite_store")
def test_what_each_position_lost_to_slippage_is_summed_over_its_orders() -> None:
    with transaction() as session:
        hold(session)
        hold(session, decision_id="gone", symbol="A", closed_at=MOMENT)
        hold(session, decision_id="elsewhere", symbol="B", book="canary")
        for decision, kind, lost in (
            (f"c.{COIN}", "ENTRY", 1.5),
            (f"c.{COIN}", "ADD1", 0.5),
            ("gone", "ENTRY", 9.0),
            ("elsewhere", "ENTRY", 9.0),
        ):
            session.add(
                Order(
                    client_id=f"{decision}{kind}", decision_id=decision, book=PAPER, symbol=COIN,
                    kind=kind, side=1, quantity=1.0, reduce_only=False, state="FILLED",
                    slippage=lost,
                )
            )  # fmt: skip
        session.flush()
        taken = trading.take_open(session, PAPER)
        assert [(one.decision_id, slipped) for one, slipped in taken] == [(f"c.{COIN}", 2.0)]


@pytest.mark.usefixtures("sqlite_store")
def test_a_mapped_position_is_read_anew_once_its_copy_was_put_back() -> None:
    with transaction() as session:
        mapped = hold(session)
        [(copy, _)] = trading.take_open(session, PAPER)
        copy.mark, copy.label = 107.0, "WINNER"
        trading.put_back(session, [copy])
        assert (mapped.mark, mapped.label) == (107.0, "WINNER")

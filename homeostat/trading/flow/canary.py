"""The canary: one synthetic trade through the whole flow, and which of the nine hooks fired.

It trades a symbol of its own, on a price path that is known, in a book of its own, from signal to
learnt outcome. Whether a hook fired is read afterwards from what the subsystem left in the store:
the flow sets no flag, so a subsystem that is unplugged, or does nothing, has not fired.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import new_id, utcnow
from homeostat.store import trading as store
from homeostat.store.trading import (
    CANARY,
    Book,
    Directive,
    HookFiring,
    ModelRecord,
    PolicyHead,
    Reservation,
    UniverseMember,
    decision_id,
)
from homeostat.trading import signals as agents
from homeostat.trading.flow import entries, exits
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.floor import Floor
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.hooks import HOOKS, MODEL, SYMBOL, Before, artefacts
from homeostat.trading.flow.journal import journal
from homeostat.trading.flow.opening import Desk, open_trades
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import BAR_S, Instrument, Panel

#: Bars before the entry, and bars in which the trade has to run its course.
_BEFORE, _AFTER = 130, 60


def path(at: datetime) -> Panel:
    """Return the canary's prices: restless, then rising without a pause; the last bars are after
    the entry. Ends so that bar `_BEFORE` closes at `at`.
    """
    count = _BEFORE + _AFTER
    wobble = np.tile((0.0006, -0.0005, 0.0004, -0.0004), count)[:count]
    rise = np.where(np.arange(count) < _BEFORE - 12, 0.0, 0.0007)
    close = 100 * np.exp(np.cumsum(np.where(rise > 0, rise + 0.1 * wobble, wobble)))[None, :]
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    first = int(at.timestamp()) // BAR_S * BAR_S - _BEFORE * BAR_S
    return Panel(
        symbols=(SYMBOL,),
        times=first + BAR_S * np.arange(count, dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) * 1.0001,
        low=np.minimum(opened, close) * 0.9999,
        close=close,
        volume=np.full_like(close, 10_000.0),
    )


def canary(
    session: Session,
    run_id: str | None = None,
    *,
    find: Callable[[str], Any] = registry.find,
) -> list[HookFiring]:
    """Run the canary's trade in the caller's transaction and return the nine firings, recorded.

    A second run under the same id returns the first one's firings. The book, orders and positions
    of the canary stay apart from those of the workload.
    """
    run = run_id or new_id()
    known = session.scalars(select(HookFiring).where(HookFiring.run_id == run)).all()
    if known:
        return sorted(known, key=lambda one: HOOKS.index(one.hook))
    parties = Parties(session, find)
    before = _before(session)
    decision = _trade(session, run, parties, before.at)
    found = dict(artefacts(session, before, decision))
    firings = []
    for hook in HOOKS:
        artefact = found.get(hook, "")
        why = parties.away.get(f"trading.{hook}", "it left nothing in the store")
        firings.append(
            HookFiring(
                run_id=run,
                hook=hook,
                fired=bool(artefact),
                artefact=artefact or f"NOT FIRED: {why}",
                at=utcnow(),
            )
        )
    session.add_all(firings)
    session.flush()
    return firings


def _before(session: Session) -> Before:
    # Each canary starts with the same money and a model without a past, so that none depends on
    # those before it: they all buy, and the side would be blocked for that after twenty.
    session.execute(delete(Book).where(Book.name == CANARY))
    session.execute(
        update(ModelRecord)
        .where(ModelRecord.model == MODEL)
        .values(
            recent_longs=0.0,
            recent_shorts=0.0,
            judged_longs=None,
            judged_shorts=None,
            blocked_side=0,
        )
    )
    session.flush()
    session.expire_all()
    directive = store.latest_directive(session)
    member = session.get(UniverseMember, SYMBOL)
    return Before(utcnow(), directive.version if directive else 0, member.trades if member else 0)


def _leave(at: datetime) -> Ground:
    """Return the leave to trade that the canary has in its own book; it is written nowhere."""
    until = at + timedelta(days=1)
    directive = Directive(
        version=0,
        expires_at=until,
        mode="NORMAL",
        allow_new_trades=True,
        reduce_global_risk=False,
        min_confidence=0.65,
        scale_position_sizes=1.0,
        max_positions=8,
        max_leverage=20.0,
        max_concentration=0.30,
    )
    return Ground(at, frozenset(), PolicyHead("canary", until, "ALLOW_ALL"), directive)


def _trade(session: Session, run: str, parties: Parties, at: datetime) -> str:
    """Take the canary through every step of the flow and return its decision's id."""
    instrument = Instrument(SYMBOL, base="CANARY", half_spread=1e-5)
    whole = path(at)
    seen = whole.window(0, _BEFORE)
    moment = datetime.fromtimestamp(int(seen.times[-1]) + BAR_S, tz=UTC)
    parties.ask("trading.self_healing", lambda one: one.run(session, at))
    parties.ask("trading.ai_hfos", lambda one: one.run(session, at))
    # The real rules are read and noted, not obeyed: the canary never meets a real venue, and has
    # to prove the rest of the flow while entries are forbidden too.
    real = Ground.read(session, utcnow())
    ground = _leave(real.at)
    examined = parties.ask(
        "trading.universe_os", lambda one: one.examine([instrument], seen).excluded
    )
    batch = Batch.of(seen, agents.signals(seen, moment, name=MODEL))
    if examined is None or examined:
        batch.stop_all(str((examined or {}).get(SYMBOL, "UNIVERSE_AWAY")))
    entries.gate_signals(batch, session, ground, parties)
    entries.gate_barriers(batch, parties)
    listed = {SYMBOL: instrument}
    desk = Desk(session, new_id(), CANARY, listed, parties, moment)
    open_trades(batch, desk, None)
    journal(
        session,
        batch,
        cycle_id=desk.cycle_id,
        due_at=utcnow(),
        book=CANARY,
        inputs={
            "run": run,
            "would_be_forbidden_by": real.entry_rule(),
            "directive": real.directive.version if real.directive else None,
        },
        counts={},
    )
    for end in range(_BEFORE + 1, _BEFORE + _AFTER + 1):
        window = whole.window(end - 121, end)
        exits.manage(Floor(session, window, listed, parties, ground), CANARY)
        if not store.open_positions(session, CANARY):
            break
    _leave_nothing_open(session, listed)
    parties.ask("trading.retraining_orchestrator", lambda one: one.review(session, MODEL))
    return decision_id(desk.cycle_id, SYMBOL)


def _leave_nothing_open(session: Session, listed: dict[str, Instrument]) -> None:
    from homeostat.trading import venue

    for position in store.open_positions(session, CANARY):
        venue.close(session, position, position.mark, "CANARY_END", listed[SYMBOL])
    held = select(Reservation).where(Reservation.book == CANARY, Reservation.state == "HELD")
    for reservation in session.scalars(held):
        reservation.state = "LEFT"
    session.flush()

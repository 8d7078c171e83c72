"""The gates of an entry, in order, over a batch of symbols; each refusal has the rule's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import Directive, Position, decision_id
from homeostat.trading import venue
from homeostat.trading.flow.parties import FLOW, Parties
from homeostat.trading.market.panel import Floats, Instrument, Panel
from homeostat.trading.signals import Signals

OPENED = "OPENED"
NO_SIGNAL = "NO_SIGNAL"


@dataclass
class Batch:
    """The state of one batch as it passes the gates; rows are the panel's symbols."""

    panel: Panel
    signals: Signals
    rules: list[str]
    volatility: Floats
    #: (4, n): take-profit, stop-loss, trail, partial; zero where none was set.
    barriers: Floats
    size: Floats
    opened: list[Position] = field(default_factory=list)

    def open_rows(self) -> list[int]:
        """Return the rows that no gate has stopped yet."""
        return [row for row, rule in enumerate(self.rules) if not rule]

    def stop(self, rows: Sequence[int], rule: str) -> None:
        """Stop these rows by a rule."""
        for row in rows:
            self.rules[row] = self.rules[row] or rule


def batch_of(panel: Panel, found: Signals) -> Batch:
    """Return a batch that has passed no gate yet."""
    count = len(panel.symbols)
    zeros = np.zeros(count)
    return Batch(panel, found, [""] * count, zeros, np.zeros((4, count)), zeros.copy())


def global_rule(session: Session, at: datetime) -> tuple[str, Directive | None]:
    """Return the rule that forbids every entry at this moment, and the directive in force."""
    directive = store.latest_directive(session)
    policy = store.latest_policy(session)
    rules = (
        ("BRAKE", controls.is_on(session, controls.BRAKE)),
        ("TRADING_PAUSED", controls.is_on(session, controls.TRADING_PAUSED)),
        ("SAFETY_POLICY_MISSING", policy is None),
        ("SAFETY_POLICY_EXPIRED", policy is not None and policy.expires_at <= at),
        (
            f"SAFETY_{policy.policy if policy else ''}",
            policy is not None and policy.policy != "ALLOW_ALL",
        ),
        ("DIRECTIVE_MISSING", directive is None),
        ("DIRECTIVE_EXPIRED", directive is not None and directive.expires_at <= at),
        ("DIRECTIVE_FORBIDS", directive is not None and not directive.allow_new_trades),
    )
    return next((rule for rule, holds in rules if holds), ""), directive


def gate_universe(batch: Batch, session: Session, at: datetime, parties: Parties) -> None:
    """Stop what is not in the universe; without a universe, everything."""
    rules = parties.ask(
        "trading.universe_os", lambda one: one.entry_rules(session, batch.panel.symbols, at)
    )
    if rules is None:
        batch.stop(range(len(batch.rules)), "UNIVERSE_AWAY")
        return
    for row, rule in enumerate(rules):
        if rule:
            batch.stop([row], rule)


def gate_signals(batch: Batch, session: Session, floor: float, parties: Parties) -> None:
    """Stop abstentions, a model out of service, a biased side, and what is not sure enough."""
    found = batch.signals
    if controls.is_on(session, controls.MODEL_DISABLED + found.model):
        batch.stop(range(len(batch.rules)), "MODEL_DISABLED")
        return
    for row, reason in enumerate(found.abstained):
        if reason:
            batch.stop([row], f"ABSTAIN_{reason}")
    for row in np.flatnonzero(found.side == 0).tolist():
        batch.stop([row], NO_SIGNAL)
    sure = found.confidence >= floor
    longs = int((sure & (found.side > 0)).sum())
    shorts = int((sure & (found.side < 0)).sum())
    parties.ask(
        "trading.model_supervisor",
        lambda one: one.observe(session, found.model, longs, shorts, found.digest()),
    )
    blocked = parties.ask("trading.model_supervisor", lambda one: one.blocked(session, found.model))
    if blocked is None:
        batch.stop(range(len(batch.rules)), "MODEL_SUPERVISOR_AWAY")
    elif blocked:
        batch.stop(np.flatnonzero(found.side == blocked).tolist(), "BIAS_BLOCKED")
    batch.stop(np.flatnonzero(~sure).tolist(), "CONFIDENCE_FLOOR")


def gate_barriers(batch: Batch, parties: Parties) -> None:
    """Set the barriers of all that are left, in one call."""
    from homeostat.trading.dynamic_tpsl import expected_volatility

    rows = batch.open_rows()
    if not rows:
        return
    batch.volatility = np.nan_to_num(expected_volatility(batch.panel))
    found = parties.consult(
        "trading.dynamic_tpsl",
        lambda one: one.barriers(batch.signals.confidence[rows], batch.volatility[rows]),
    )
    if found is None:
        batch.stop(rows, "TPSL_AWAY")
        return
    batch.barriers[:, rows] = np.array(found)
    batch.stop([row for row in rows if batch.barriers[1, row] <= 0], "NO_BARRIER")


def open_trades(
    batch: Batch,
    session: Session,
    cycle_id: str,
    book: str,
    directive: Directive | None,
    listed: Mapping[str, Instrument],
    parties: Parties,
    at: datetime,
) -> None:
    """Reserve, ask governance, send, and see the stop rest; the rest are stopped by name."""
    rows = batch.open_rows()
    if not rows:
        return
    verdicts = parties.ask(
        "trading.portfolio_balancer",
        lambda pba: _reserve(pba, batch, session, cycle_id, book, directive, rows),
    )
    if verdicts is None:
        batch.stop(rows, "PBA_AWAY")
        return
    place = {decision_id(cycle_id, batch.panel.symbols[row]): row for row in rows}
    for verdict in verdicts:
        row = place[verdict.candidate.decision_id]
        if verdict.code:
            batch.stop([row], verdict.code)
            continue
        rule = _open_one(batch, session, row, verdict.candidate, book, listed, parties, at)
        batch.stop([row], rule)
        if rule != OPENED:
            _release(session, parties, verdict.candidate.decision_id)


def _release(session: Session, parties: Parties, decision: str) -> None:
    parties.ask("trading.portfolio_balancer", lambda pba: pba.release(session, decision))


def _reserve(
    pba: Any,
    batch: Batch,
    session: Session,
    cycle_id: str,
    book: str,
    directive: Directive | None,
    rows: Sequence[int],
) -> list[Any]:
    """Size the rows that are left and ask the balancer; returns its verdicts."""
    from homeostat.trading import portfolio_balancer as balancer

    limits = balancer.Limits()
    scale = 1.0
    if directive is not None:
        limits, scale = limits.under(directive), directive.scale_position_sizes
    equity = store.book_of(session, book, lock=True).equity
    returns = batch.panel.log_returns()[list(rows)]
    wishes = []
    for row, cluster in zip(rows, balancer.clusters(returns), strict=True):
        symbol = batch.panel.symbols[row]
        risk, notional = balancer.size(equity, float(batch.barriers[1, row]), scale, limits)
        batch.size[row] = notional / float(batch.panel.close[row, -1])
        wishes.append(
            balancer.Candidate(
                decision_id(cycle_id, symbol),
                symbol,
                int(batch.signals.side[row]),
                risk,
                notional,
                cluster=int(rows[cluster]),
                confidence=float(batch.signals.confidence[row]),
            )
        )
    verdicts: list[Any] = pba.reserve(session, book, wishes, limits)
    return verdicts


def _open_one(
    batch: Batch,
    session: Session,
    row: int,
    candidate: Any,
    book: str,
    listed: Mapping[str, Instrument],
    parties: Parties,
    at: datetime,
) -> str:
    decision, symbol = str(candidate.decision_id), batch.panel.symbols[row]
    allowed = parties.ask(
        "kernels.governance",
        lambda one: one.decide(
            session, action="trade.open", risk="medium", actor=FLOW, subject=decision
        ),
    )
    if allowed is None:
        return "GOVERNANCE_AWAY"
    if not allowed.allowed:
        return "GOVERNANCE_REFUSED"
    side, price = int(batch.signals.side[row]), float(batch.panel.close[row, -1])
    order = venue.send(
        session,
        None,
        decision=decision,
        book=book,
        instrument=listed[symbol],
        kind="ENTRY",
        side=side,
        quantity=float(batch.size[row]),
        price=price,
    )
    if order.state != "FILLED" or order.price is None:
        return "ORDER_REJECTED"
    take, stop, trail, partial = (float(x) for x in batch.barriers[:, row])
    position = Position(
        decision_id=decision,
        book=book,
        symbol=symbol,
        model=batch.signals.model,
        cluster=row,
        side=side,
        quantity=order.quantity,
        first_quantity=order.quantity,
        entry=order.price,
        stop=order.price * (1 - side * stop),
        take_profit=order.price * (1 + side * take),
        trail=trail,
        partial=partial,
        risk_per_unit=order.price * stop,
        confidence=float(batch.signals.confidence[row]),
        mark=price,
        costs=order.fee,
        marked_at=at,
        opened_at=at,
    )
    for name, value in _BEGINNING.items():
        setattr(position, name, value)
    session.add(position)
    store.book_of(session, book).equity -= order.fee
    venue.rest(session, position, "STOP", position.stop)
    venue.rest(session, position, "TAKE_PROFIT", position.take_profit)
    if venue.resting(session, position) != position.stop:
        # An entry whose stop does not rest is worse than none.
        venue.close(session, position, price, "NO_RESTING_STOP", listed[symbol])
        return "NO_RESTING_STOP"
    batch.opened.append(position)
    return OPENED


_BEGINNING = {
    "partial_taken": False,
    "peak_r": 0.0,
    "adds": 0,
    "bars": 0,
    "label": "SAFE",
    "pending_label": "SAFE",
    "advice": "HOLD",
    "realised": 0.0,
    "exit_rule": "",
}

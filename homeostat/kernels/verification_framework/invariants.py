"""What must hold of the running system at any moment; each returns what breaks it, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.settings import VenueName, settings
from homeostat.store import audit, beat, checks
from homeostat.store.audit import AuditHead, AuditRow
from homeostat.store.chain import raw_rows, verify_chain
from homeostat.store.checks import CheckRun
from homeostat.store.incidents import Incident
from homeostat.store.repair import KnownFix, Repair
from homeostat.store.trading import Order, Position
from homeostat.supervision import cadence

#: How many of the audit log's last rows are held to the chain each cycle.
TAIL = 200
#: An entry that missed its newest so many ticks no longer fires.
SILENT_TICKS = 3
#: Sizes that differ by less are the same: sums of floats.
SAME_SIZE = 1e-9
#: A tick is not missing before this, in seconds: it may still be on its way.
GRACE_S = 30.0

Invariant = Callable[[Session], list[str]]


def one_direction_per_symbol(session: Session) -> list[str]:
    """No book holds a symbol long and short at once."""
    rows = session.execute(
        select(Position.book, Position.symbol)
        .where(Position.closed_at.is_(None))
        .group_by(Position.book, Position.symbol)
        .having(func.count(func.distinct(Position.side)) > 1)
    )
    return [f"{book} holds {symbol} long and short at once" for book, symbol in rows]


def open_positions_are_whole(session: Session) -> list[str]:
    """An open position has a direction, a quantity and an entry price."""
    rows = session.execute(
        select(Position.id, Position.symbol).where(
            Position.closed_at.is_(None),
            (Position.quantity <= 0) | (Position.entry <= 0) | (Position.side.not_in((-1, 1))),
        )
    )
    return [f"position {one} in {symbol} has no quantity, price or side" for one, symbol in rows]


def orders_are_positions(session: Session) -> list[str]:
    """What was filled for an open position is what is held: no exposure without its orders.

    An outside venue's own holdings are the truth, and `trading.flow.reconcile` adopts them, so
    only the paper venue owes this.
    """
    if settings().venue is not VenueName.PAPER:
        return []
    filled = func.coalesce(func.sum(Order.side * Order.quantity), 0.0)
    rows = session.execute(
        select(Position.id, Position.symbol, Position.side * Position.quantity, filled)
        .outerjoin(Order, (Order.decision_id == Position.decision_id) & (Order.state == "FILLED"))
        .where(Position.closed_at.is_(None))
        .group_by(Position.id, Position.symbol, Position.side, Position.quantity)
    )
    return [
        f"position {one} holds {held:g} of {symbol}, and its filled orders add up to {orders:g}"
        for one, symbol, held, orders in rows
        if abs(held - orders) > SAME_SIZE * max(abs(held), abs(orders))
    ]


def chain_is_intact(session: Session) -> list[str]:
    """The audit log's last rows hold together, and the head row is the last one's."""
    head = session.get(AuditHead, 1, populate_existing=True)
    if head is None:
        return ["the audit log has no head row"]
    after = max(0, head.sequence - TAIL)
    known = session.scalar(select(AuditRow.row_hash).where(AuditRow.sequence == after))
    start = audit.GENESIS if after == 0 else known or ""
    report = verify_chain(raw_rows(session, after), after=(after, start))
    if not report.intact:
        return [f"row {report.row} of the audit log: {report.reason}"]
    if (report.last_sequence, report.last_hash) != (head.sequence, head.row_hash):
        return [f"the audit log ends at row {report.last_sequence}, not at {head.sequence}"]
    return []


def no_incident_without_signature(session: Session) -> list[str]:
    """Every incident carries both its keys."""
    rows = session.scalars(
        select(Incident.id).where((Incident.group_key == "") | (Incident.replay_key == ""))
    )
    return [f"incident {one} has no signature" for one in rows]


def no_fix_without_proof(session: Session) -> list[str]:
    """Every applied repair names its commit, and every known fix its proof."""
    unproven = session.scalars(
        select(Repair.id).where(Repair.status == "applied", Repair.commit == "")
    )
    known = session.execute(select(KnownFix.id, KnownFix.proof))
    return [f"repair {one} was applied and names no commit" for one in unproven] + [
        f"known fix {one} has no proof" for one, proof in known if not proof
    ]


def beats_are_accounted_for(session: Session) -> list[str]:
    """No entry of the timetable has fallen silent while others run."""
    now = utcnow() - timedelta(seconds=GRACE_S)
    silent = []
    for entry in beat.timetable(session):
        span = timedelta(seconds=SILENT_TICKS * entry.interval_s)
        if not entry.task.startswith("checks.") or entry.since > now - span:
            continue
        runs = checks.runs_between(session, now - span, now)
        due = set(cadence.due_between(entry.name, entry.interval_s, now - span, now))
        if _beat_was_alive(runs, now - span, now) and not due & {
            run.due_at for run in runs if run.entry == entry.name
        }:
            silent.append(f"{entry.name} did not run at its last {len(due)} ticks")
    return silent


def _beat_was_alive(runs: Sequence[CheckRun], start: datetime, end: datetime) -> bool:
    """Return whether ticks ran in each third of the span: a stack that was down owes nothing."""
    third = (end - start) / 3
    return {min(2, (run.due_at - start) // third) for run in runs} == {0, 1, 2}


INVARIANTS: Mapping[str, Invariant] = {
    "one direction per symbol": one_direction_per_symbol,
    "open positions are whole": open_positions_are_whole,
    "orders are positions": orders_are_positions,
    "audit chain intact": chain_is_intact,
    "no incident without signature": no_incident_without_signature,
    "no fix without proof": no_fix_without_proof,
    "beats expected are accounted for": beats_are_accounted_for,
}

"""The trade flow: hooks fired by canaries, decisions by rule, and whether the data is fresh."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.store.trading import (
    PAPER,
    Decision,
    DecisionCycle,
    HookFiring,
    UniverseSnapshot,
)
from homeostat.stress.evidence.window import Window
from homeostat.stress.facts import FreshnessRow, HookRow

#: Two cycles this far apart, in seconds, must have seen at least one new one-minute bar.
BAR_S = 60


def hooks(session: Session, expected: Sequence[str], run_ids: Sequence[str]) -> list[HookRow]:
    """Return one row per expected hook; `fired` counts the canaries in which it did its step."""
    firings = session.scalars(select(HookFiring).where(HookFiring.run_id.in_(run_ids))).all()
    canaries = {firing.run_id for firing in firings}
    names = list(expected) or sorted({firing.hook for firing in firings})
    rows = []
    for order, name in enumerate(names):
        own = [firing for firing in firings if firing.hook == name]
        fired = [firing for firing in own if firing.fired]
        shown = (fired or own)[-1].artefact if own else ""
        evidence = f"{len(fired)} of {len(canaries)} canaries; {shown}".rstrip("; ")
        count = len(fired) if canaries else None
        rows.append(HookRow(hook=name, fired=count, order=order, evidence=evidence))
    return rows


def decisions(session: Session, window: Window) -> dict[str, dict[str, int]]:
    """Return {approved or blocked: {rule: count}} of the window's cycles, canaries left out."""
    statement = (
        select(Decision.approved, Decision.rule, func.count())
        .join(DecisionCycle, DecisionCycle.id == Decision.cycle_id)
        .where(
            DecisionCycle.book == PAPER,
            DecisionCycle.due_at >= window.start,
            DecisionCycle.due_at < window.end,
        )
        .group_by(Decision.approved, Decision.rule)
    )
    found: dict[str, dict[str, int]] = {"approved": {}, "blocked": {}}
    for approved, rule, count in session.execute(statement):
        found["approved" if approved else "blocked"][rule] = int(count)
    return found


def freshness(session: Session, since: datetime, now: datetime) -> list[FreshnessRow]:
    """Return how fresh each feed is: prices by their content, the universe by its own expiry."""
    return [_prices(session, since, now), _universe(session, since, now)]


def _prices(session: Session, since: datetime, now: datetime) -> FreshnessRow:
    """Hold the prices of cycles against each other: those of different minutes must differ."""
    cycles = session.execute(
        select(DecisionCycle.id, DecisionCycle.due_at)
        .where(DecisionCycle.due_at >= since, DecisionCycle.book == PAPER)
        .order_by(DecisionCycle.due_at)
    ).all()
    by_minute: dict[int, tuple[float, ...]] = {}
    newest: datetime | None = None
    for cycle_id, due_at in cycles:
        prices = session.scalars(
            select(Decision.price).where(Decision.cycle_id == cycle_id).order_by(Decision.symbol)
        ).all()
        if prices:
            by_minute[int(due_at.timestamp()) // BAR_S] = tuple(prices)
            newest = due_at
    distinct = len(set(by_minute.values()))
    enough = len(by_minute) > 1
    repeated = Counter(by_minute.values()).most_common(1)
    most = repeated[0][1] if repeated else 0
    return FreshnessRow(
        feed="market prices",
        snapshots=len(by_minute),
        distinct=distinct,
        newest_age_s=None if newest is None else round((now - newest).total_seconds(), 1),
        stale=most > 1 if enough else None,
        evidence=f"prices of all symbols in {len(by_minute)} different minutes",
    )


def _universe(session: Session, since: datetime, now: datetime) -> FreshnessRow:
    snapshots = session.scalars(
        select(UniverseSnapshot).where(UniverseSnapshot.at >= since).order_by(UniverseSnapshot.at)
    ).all()
    age = round((now - snapshots[-1].at).total_seconds(), 1) if snapshots else None
    expired = [one for one in snapshots[-1:] if one.expires_at < now]
    return FreshnessRow(
        feed="universe",
        snapshots=len(snapshots),
        distinct=len({json.dumps([one.selected, one.excluded]) for one in snapshots}),
        newest_age_s=age,
        stale=bool(expired) if snapshots else None,
        evidence="the newest snapshot against its own expiry",
    )

"""Every cycle of a stretch of time derived anew, decision by decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.settings import Settings
from homeostat.store.trading import PAPER, Decision, DecisionCycle, decision_id
from homeostat.trading import signals as agents
from homeostat.trading.flow.batch import Batch
from homeostat.trading.market import digest, port
from homeostat.trading.market.panel import BAR_S
from homeostat.trading.models import artifacts
from homeostat.trading.replay import derive
from homeostat.trading.replay.compare import Replayed, difference


@dataclass(frozen=True)
class Change:
    """What a cycle rested on and is no longer as it was, whatever decision it bears on."""

    cycle: str
    step: str
    what: str


@dataclass
class Report:
    """What a replay found. `partly` counts decisions of journals that tell of no gates."""

    decisions: list[Replayed] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    partly: int = 0

    @property
    def differing(self) -> list[Replayed]:
        """The decisions that come out otherwise."""
        return [one for one in self.decisions if not one.same]

    def as_json(self, most: int = 100) -> dict[str, JsonValue]:
        """Return the counts, and at most so many of what differs and of what changed."""
        differing = self.differing
        steps = [one.step for one in differing]
        return {
            "decisions": len(self.decisions),
            "same": len(self.decisions) - len(differing),
            "signals_and_barriers_only": self.partly,
            "differing_at": {step: steps.count(step) for step in sorted(set(steps))},
            "differing": [dict(vars(one)) for one in differing[:most]],
            "changed": [dict(vars(one)) for one in self.changed[:most]],
        }


def replay(session: Session, settings: Settings, start: datetime, end: datetime) -> Report:
    """Derive every decision due in [start, end) anew.

    Raises MarketDataError where the data cannot be read. What a cycle of another input than the
    present one decided cannot be derived, and is said to differ by its source.
    """
    market = port.market(settings)
    report = Report()
    statement = (
        select(DecisionCycle)
        .where(
            DecisionCycle.book == PAPER, DecisionCycle.due_at >= start, DecisionCycle.due_at < end
        )
        .order_by(DecisionCycle.due_at)
    )
    for cycle in session.scalars(statement):
        _one(session, market, cycle, report)
    return report


def seen(session: Session, market: port.Market, row: DecisionCycle) -> derive.Cycle:
    """Return the cycle with what it saw; raises ArtifactError, and ValueError for the source."""
    known = row.inputs
    if known["source"] != market.source:
        raise ValueError(f"the input was {known['source']}")
    model = artifacts.recall(session, known["model"])
    moment = port.moment_of(known["newest_bar"] + BAR_S)
    listed = {one.symbol: one for one in market.instruments}
    return derive.Cycle(row, market.panel(moment, known["bars"]), model, listed)


def _one(session: Session, market: port.Market, row: DecisionCycle, report: Report) -> None:
    rows = session.scalars(select(Decision).where(Decision.cycle_id == row.id)).all()
    try:
        cycle = seen(session, market, row)
    except (artifacts.ArtifactError, ValueError) as error:
        step = "model" if isinstance(error, artifacts.ArtifactError) else "source"
        report.changed.append(Change(row.id, step, str(error)))
        report.decisions += [_other(row, one, step, str(error)) for one in rows]
        return
    order = {symbol: at for at, symbol in enumerate(cycle.panel.symbols)}
    rows = sorted(rows, key=lambda one: order.get(one.symbol, len(order)))
    try:
        ground, changed = derive.present(session, cycle)
    except KeyError:
        _signals_only(cycle, rows, order, report)
        return
    changed += derive.changed_limits(cycle, ground)
    batch = derive.derive(session, cycle, ground)
    data, journal = _unlike(cycle, batch), _forged(cycle, rows)
    changed += [("data", f"the bars of {one} are not those that were read") for one in sorted(data)]
    changed += [
        ("journal", f"the row of {one} is not as it was written") for one in sorted(journal)
    ]
    missing = sorted(order.keys() - {one.symbol for one in rows})
    changed += [("journal", f"the row of {one} is gone") for one in missing]
    report.changed += [Change(row.id, step, what) for step, what in changed]
    for one in rows:
        at = order.get(one.symbol)
        if at is None:
            report.decisions.append(_other(row, one, "data", "the symbol is not in the data"))
            continue
        step, how = difference(one, batch, at)
        if step and one.symbol in journal:
            step = "journal"
        elif step and one.symbol in data:
            step = "data"
        report.decisions.append(_other(row, one, step, how))


def _other(cycle: DecisionCycle, row: Decision, step: str, how: str) -> Replayed:
    return Replayed(decision_id(cycle.id, row.symbol), row.rule, not step, step, how)


def _unlike(cycle: derive.Cycle, batch: Batch) -> set[str]:
    """Return the symbols whose bars are not those that the cycle read."""
    was, now = digest.unpacked(cycle.told["data"]), digest.marks(batch.panel)
    if len(was) != len(now):
        return set(batch.panel.symbols)
    return {batch.panel.symbols[at] for at in np.flatnonzero(was != now)}


def _forged(cycle: derive.Cycle, rows: Sequence[Decision]) -> set[str]:
    """Return the symbols whose journal rows are not as they were written."""
    symbols = cycle.panel.symbols
    was = dict(zip(symbols, digest.unpacked(cycle.told["rows"]).tolist(), strict=False))
    numbers = [[float(getattr(one, name)) for one in rows] for name in _NUMBERS]
    now = digest.row_marks(np.array(numbers, dtype=np.float64), [one.rule for one in rows])
    pairs = zip(rows, now.tolist(), strict=True)
    return {one.symbol for one, mark in pairs if was.get(one.symbol) != mark}


#: The columns of a journal row in the order of their fingerprint.
_NUMBERS = (
    "side",
    "confidence",
    "price",
    "volatility",
    "take_profit",
    "stop_loss",
    "trail",
    "partial",
    "size",
)


def _signals_only(
    cycle: derive.Cycle, rows: Sequence[Decision], order: dict[str, int], report: Report
) -> None:
    """Derive what an older journal tells enough of: the signals."""
    found = agents.signals(cycle.panel, cycle.row.due_at, cycle.model)
    for one in rows:
        at: Any = order.get(one.symbol)
        how = "the symbol is not in the data" if at is None else ""
        if at is not None and one.side != found.side[at]:
            how = f"side {one.side}, and now {found.side[at]}"
        elif at is not None and abs(one.confidence - found.confidence[at]) > 1e-12:
            how = f"confidence {one.confidence:.9g}, and now {found.confidence[at]:.9g}"
        report.decisions.append(_other(cycle.row, one, "signal" if how else "", how))
    report.partly += len(rows)

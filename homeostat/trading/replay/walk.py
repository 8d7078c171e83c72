"""The cycles of a stretch of time, one by one: entries derived anew, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.settings import Settings
from homeostat.store.trading import PAPER, Decision, DecisionCycle
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.ground import Ground
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S
from homeostat.trading.models import artifacts
from homeostat.trading.replay import derive
from homeostat.trading.replay.counted import Counted
from homeostat.trading.replay.entered import Entries, other, signals_only
from homeostat.trading.replay.followed import Followed
from homeostat.trading.replay.ledger import kept_since, missing_cycles, unmarked_cycles
from homeostat.trading.replay.lives import Lives
from homeostat.trading.replay.report import Change, Quoted, Report

#: What every journal has told since it tells of the gates.
_TOLD = {"ground", "data", "rows"}
#: What has joined since.
_MORE = {"adds"}


def replay(session: Session, settings: Settings, start: datetime, end: datetime) -> Report:
    """Derive every decision due in [start, end) anew, and the life of every position within it.

    Raises MarketDataError where the data cannot be read. What a cycle of another input than the
    present one decided cannot be derived, and is said to differ by its source.
    """
    if session.get_bind().dialect.name == "postgresql" and not session.in_transaction():
        # A tick that is committed meanwhile must not be seen by halves.
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    walk = _Walk(session, settings, start, end)
    walk.cycles()
    walk.followed.close(walk.report)
    for at, forgotten in missing_cycles(session, walk.kept, start, end):
        if not forgotten:
            what = f"the cycle due at {at.isoformat()} is gone, and its equity is there"
            walk.report.changed.append(Change("", "journal", what))
    for key, due_at in unmarked_cycles(session, walk.within):
        what = f"no equity was noted at {due_at.isoformat()}"
        walk.report.changed.append(Change(key, "equity", what))
    return walk.report


class _Walk:
    """One pass over the journal."""

    def __init__(
        self, session: Session, settings: Settings, start: datetime, end: datetime
    ) -> None:
        self.session, self.start, self.end = session, start, end
        self.market = port.market(settings)
        self.listed = self.market.listed
        self.report = Report()
        self.counted = Counted()
        self.kept, self.lives = kept_since(session), Lives(session, start, end)
        outside = settings.trades_outside
        self.followed = Followed(session, self.lives, self.kept, outside=outside)
        self.within: list[tuple[str, datetime]] = []
        self.told_first = _told_first(session)

    def cycles(self) -> None:
        """Walk from where the oldest position began until the last one has ended.

        Cycles go in the order in which they ran: a tick that was made good ran after later ones.
        """
        within = (DecisionCycle.due_at >= self.start) & (DecisionCycle.due_at < self.end)
        first = self.lives.first_cycle()
        if first is not None:
            within |= DecisionCycle.id >= first
        keys = select(DecisionCycle.id, DecisionCycle.due_at).where(
            DecisionCycle.book == PAPER, within
        )
        for key, due_at in self.session.execute(keys.order_by(DecisionCycle.id)).all():
            inside = self.start <= due_at < self.end
            if inside:
                self.within.append((key, due_at))
            if inside or self.followed.opens(key) or self.followed.busy:
                self._cycle(self.session.get_one(DecisionCycle, key), inside=inside)
            self.followed.passed(key)

    def _cycle(self, row: DecisionCycle, *, inside: bool) -> None:
        rows: Sequence[Decision] = ()
        if inside:
            rows = self.session.scalars(select(Decision).where(Decision.cycle_id == row.id)).all()
        try:
            self._derive(row, rows, inside=inside)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            # What a head has lost, nobody can derive; the rest of the journal is read on.
            why = f"its head cannot be read ({type(error).__name__}: {error})"
            self._unread(row, rows, "journal", why)

    def _derive(self, row: DecisionCycle, rows: Sequence[Decision], *, inside: bool) -> None:
        if row.inputs["source"] != self.market.source:
            self._unread(row, rows, "source", f"the input was {row.inputs['source']}")
            return
        if lost := sorted(self.told_first - row.inputs.keys()):
            raise ValueError(f"it has lost {', '.join(lost)}")
        if not isinstance(row.counts["away"], dict):
            raise TypeError("who was away is no list of parties")
        cycle, error = self._seen(row, asked=inside or self.followed.opens(row.id))
        if not _TOLD & row.inputs.keys():
            self._older(cycle, rows, error)
            return
        ground, changed = derive.present(self.session, cycle)
        self.followed.live(cycle, ground, [step for step, _ in changed])
        if error:
            self._undecided(row, rows, "model", error)
            self.followed.lose_opened(row, "model", error)
        elif cycle.model is not None:
            batch = derive.derive(self.session, cycle, ground)
            if inside:
                self._entries(Entries(cycle, rows, batch), ground, changed)
            self.followed.open(cycle, batch, ground)
        self.followed.weigh(row)

    def _seen(self, row: DecisionCycle, *, asked: bool) -> tuple[derive.Cycle, str]:
        """Return the cycle with what it saw, its model where that is asked for, and why without."""
        moment = port.moment_of(row.inputs["newest_bar"] + BAR_S)
        panel = self.market.panel(moment, row.inputs["bars"])
        model, error = None, ""
        try:
            model = artifacts.recall(self.session, row.inputs["model"]) if asked else None
        except artifacts.ArtifactError as unknown:
            error = str(unknown)
        if model is not None and model.reference() != row.inputs["model"]:
            model, error = None, "the model is not the one that was asked"
        return derive.Cycle(row, panel, model, self.listed), error

    def _older(self, cycle: derive.Cycle, rows: Sequence[Decision], model_error: str) -> None:
        """Derive what a journal tells that was written before it told of the gates."""
        self.followed.lose_all(cycle.row, "an older journal tells of no ground")
        if model_error:
            self._undecided(cycle.row, rows, "model", model_error)
        elif rows:
            self.report.decisions += signals_only(cycle, rows)
            self.report.partly += len(rows)

    def _entries(self, entries: Entries, ground: Ground, changed: list[tuple[str, str]]) -> None:
        row, report = entries.cycle.row, self.report
        changed += [*derive.changed_limits(entries.cycle, ground), *entries.changes()]
        report.decisions += entries.replayed()
        self._verdict(row, entries.batch, judged=not changed)
        report.changed += [Change(row.id, step, what) for step, what in changed]

    def _verdict(self, row: DecisionCycle, batch: Batch, *, judged: bool) -> None:
        told: dict[str, Any] = row.inputs
        self.counted.prime(self.session, row.id, self.kept)
        known = told.get("supervisor")
        if known:
            self.report.blocks += 1
            found = self.counted.differences(told, batch, alone=not judged)
            self.report.changed += [Change(row.id, "supervisor", one) for one in found]
        elif "adds" in told:
            found = self.counted.differences(told, batch)
            self.report.changed += [Change(row.id, "supervisor", one) for one in found]
        elif "blocked_side" in told:
            why = "an older journal tells the verdict and not its counts"
            self.report.quoted.append(Quoted("supervisor's block", row.id, why))
        self.counted.note(told)

    def _unread(self, row: DecisionCycle, rows: Sequence[Decision], step: str, why: str) -> None:
        self._undecided(row, rows, step, why)
        self.followed.lose_all(row, why, step)

    def _undecided(self, row: DecisionCycle, rows: Sequence[Decision], step: str, why: str) -> None:
        if rows:
            self.report.changed.append(Change(row.id, step, why))
            self.report.decisions += [other(row, one, step, why) for one in rows]


def _told_first(session: Session) -> set[str]:
    """Return what the oldest journal tells of: a later one that does not has lost it."""
    statement = select(DecisionCycle.inputs).where(DecisionCycle.book == PAPER)
    oldest = session.scalar(statement.order_by(DecisionCycle.id).limit(1))
    return (_TOLD | _MORE) & (oldest or {}).keys()

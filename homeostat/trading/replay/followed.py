"""Positions followed from cycle to cycle, and what cannot be followed, with the reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from homeostat.store.trading import PAPER, DecisionCycle
from homeostat.trading.flow.batch import OPENED, Batch
from homeostat.trading.flow.ground import VENUE_RECONCILED, VENUE_UNRECONCILED, Ground
from homeostat.trading.replay.adding import Adding
from homeostat.trading.replay.compare import Replayed, step_of
from homeostat.trading.replay.derive import Cycle, ran_at
from homeostat.trading.replay.entered import unlike_data
from homeostat.trading.replay.ledger import Kept, Ledger, missing_cycles, unlike_held
from homeostat.trading.replay.lives import STILL_OPEN, Lives, Row, cycle_of, shadow_row
from homeostat.trading.replay.recorded import SUPERVISOR
from homeostat.trading.replay.report import Change, Quoted, Report
from homeostat.trading.replay.shadow import Shadow, Witnesses
from homeostat.trading.replay.standing import standing

#: Why a life is quoted and not derived.
_GAP = "cycles of its life are no longer kept"
_FILLS = "its fills are those of an outside venue"
_ROOM = "an older journal does not tell what the balancer was shown"
_OUTSIDE = {VENUE_RECONCILED, VENUE_UNRECONCILED}


class Followed:
    """The lives of a span's positions as the journal's cycles happen to them once more.

    Where the settings, or a cycle's switches, tell of an outside venue, nothing is followed.
    """

    def __init__(self, session: Session, lives: Lives, kept: Kept | None, *, outside: bool) -> None:
        self.session, self.lives, self.outside = session, lives, outside
        self.shadow, self.ledger = Shadow(), Ledger()
        self.from_cycle: Mapping[str, list[str]] = defaultdict(list)
        for one in sorted(lives.all):
            self.from_cycle[cycle_of(one)].append(one)
        self.differing: dict[str, tuple[str, str]] = {}
        self.quoted = {one: _GAP for one, row in lives.known.items() if self._gap(row, kept)}
        self.changed: list[Change] = []
        self.trusted: list[Quoted] = []
        #: Steps of what a life rested on and is another one now.
        self.touched: dict[str, list[str]] = defaultdict(list)
        self.unlearnt: set[str] = set()
        #: What the span's own cycles ended, perhaps by bars from before it.
        self.ended: set[str] = set()
        self._before: datetime | None = None

    @property
    def busy(self) -> bool:
        """Whether a position is open still."""
        return bool(self.shadow.open_ones())

    def opens(self, cycle_id: str) -> bool:
        """Return whether a position that is followed comes from this cycle."""
        return cycle_id in self.from_cycle

    def passed(self, cycle_id: str) -> None:
        """Note when the cycle ran that the next one comes after."""
        with suppress(ValueError):
            self._before = ran_at(cycle_id)

    def live(self, cycle: Cycle, ground: Ground, changed: Sequence[str]) -> None:
        """Let the cycle happen to what is open."""
        row = cycle.row
        if self._goes_outside(ground):
            self.lose_all(row, _FILLS)
            return
        closed = []
        if alive := self.shadow.open_ones():
            unlike = unlike_data(cycle)
            for one in alive:
                own = ["data"] if one.partition(".")[2] in unlike else []
                self.touched[one] += [*changed, *own]
            adding = Adding(self.session, cycle, self._before)
            closed = self.shadow.live(cycle, ground, self._witnesses(cycle, adding))
            self._note_adds(cycle, adding)
        else:
            self._note_adds(cycle, Adding(self.session, cycle, self._before))
        ended = {one.position.decision_id for one in closed}
        if SUPERVISOR in row.counts.get("away", {}):
            self.unlearnt |= ended
        if self.lives.start <= row.due_at < self.lives.end:
            self.ended |= ended
        rules = Counter(one.rule for one in closed)
        told = row.counts["closed"] if "adds" in cycle.told else row.counts.get("closed", rules)
        if self._whole(row) and Counter(told) != rules:
            what = f"closed were {sorted(told)}, and come to {sorted(rules.elements())}"
            self.changed.append(Change(row.id, "exit", what))

    def open(self, cycle: Cycle, batch: Batch, ground: Ground) -> None:
        """Open what the cycle decided to."""
        row, wanted = cycle.row, self.from_cycle.get(cycle.row.id, [])
        if self._goes_outside(ground):
            self.quoted.update(dict.fromkeys(wanted, _FILLS))
            return
        if "book" in cycle.told and self._whole(row):
            told = cycle.told["book"]
            found = unlike_held(told, self.shadow.held())
            self.changed += [Change(row.id, "book", one) for one in found]
            self.ledger.told.append((row.id, told["equity"], self.shadow.book.equity))
        places = batch.panel.places
        rules, rows = batch.rules, []
        for one in wanted:
            at = places.get(one.partition(".")[2], -1)
            if one in self.quoted:
                continue
            if at >= 0 and rules[at] == OPENED:
                rows.append(at)
            elif one in self.lives.known:
                step = step_of(rules[at]) if at >= 0 else "data"
                now = rules[at] if at >= 0 else "without a bar"
                self.differing[one] = (step, f"{OPENED}, and now {now}")
        if rows:
            witnesses = self._witnesses(cycle, Adding(self.session, cycle, self._before))
            self.shadow.open(cycle, batch, rows, ground, witnesses)

    def lose_opened(self, row: DecisionCycle, step: str, why: str) -> None:
        """Give up what the cycle opened: its entry cannot be derived."""
        for one in self.from_cycle.get(row.id, []):
            self.differing[one] = (step, why)

    def lose_all(self, row: DecisionCycle, why: str, step: str = "") -> None:
        """Give up what is open and what the cycle opened; with a step it differs there."""
        for one in (*self.shadow.open_ones(), *self.from_cycle.get(row.id, [])):
            self.shadow.drop(one)
            if step:
                self.differing[one] = (step, why)
            else:
                self.quoted[one] = why

    def weigh(self, row: DecisionCycle) -> None:
        """Note what the trades have come to by the end of a cycle."""
        if self._whole(row):
            self.ledger.worth.append((row.id, row.due_at, *self.shadow.worth()))

    def close(self, report: Report) -> None:
        """Say of each life how it came out."""
        for one in sorted(self.lives.all):
            found = self._judged(one, report)
            if found is not None:
                report.positions.append(found)
        report.changed += self.changed
        report.quoted += self.trusted
        if not (self.differing or self.quoted):
            found_at = self.ledger.differences(self.session)
            report.changed += [Change(cycle, step, what) for cycle, step, what in found_at]

    def _judged(self, decision: str, report: Report) -> Replayed | None:
        was, now = self.lives.known.get(decision), shadow_row(self.shadow, decision)
        touches = any(one is not None and self.lives.touches(one) for one in (was, now))
        if not touches and decision not in self.ended:
            return None
        if now is not None and decision not in self.differing and decision not in self.quoted:
            learnt = decision not in self.unlearnt
            found = self.lives.compared(self.shadow, decision, learnt=learnt)
            steps = self.touched[decision]
            return found if found.same or not steps else replace(found, step=steps[0])
        if was is None:
            return None
        step, how = "journal", "no cycle of the journal opened it"
        if decision in self.differing:
            step, how = self.differing[decision]
        elif decision in self.quoted:
            report.quoted.append(Quoted("position", decision, self.quoted[decision]))
            step, how = standing(self.session, was)
        return Replayed(decision, was["exit_rule"] or STILL_OPEN, not step, step, how)

    def _gap(self, row: Row, kept: Kept | None) -> bool:
        """Return whether a cycle is no longer kept that happened to the position."""
        if kept is not None and kept.id <= cycle_of(row["decision_id"]):
            return False
        cycle = self.session.get(DecisionCycle, cycle_of(row["decision_id"]))
        if cycle is None or cycle.book != PAPER:
            # The cycle that opened something is never forgotten.
            return False
        until = (row["closed_at"] or row["marked_at"]) + timedelta(microseconds=1)
        missing = missing_cycles(self.session, kept, row["opened_at"], until)
        return any(forgotten for _, forgotten in missing)

    def _whole(self, row: DecisionCycle) -> bool:
        """Return whether the shadow holds all that the book held at this cycle of the span."""
        lost = bool(self.differing or self.quoted)
        return self.lives.start <= row.due_at < self.lives.end and not lost

    def _goes_outside(self, ground: Ground) -> bool:
        return self.outside or bool(_OUTSIDE & ground.switches)

    def _witnesses(self, cycle: Cycle, adding: Adding) -> Witnesses:
        return Witnesses(
            self.shadow.session,
            told=cycle.told,
            silent=frozenset(cycle.row.counts.get("away", {})),
            outcomes=self.shadow.outcomes,
            adds=adding.shown,
            allows=adding.allowed,
        )

    def _note_adds(self, cycle: Cycle, adding: Adding) -> None:
        if not adding.tells:
            self.trusted += [Quoted("room for an add", one, _ROOM) for one in sorted(adding.asked)]
            return
        told = cycle.told["adds"].keys()
        said = [
            ("balancer", f"nobody asked for room to add to {one}") for one in adding.asked - told
        ]
        said += [
            ("balancer", f"room to add to {one} was asked for, and would not be now")
            for one in told - adding.asked
            if one in self.lives.all or self._whole(cycle.row)
        ]
        said += [
            ("governance", f"no verdict on an add to {one} is logged") for one in adding.unlogged
        ]
        self.changed += [Change(cycle.row.id, step, what) for step, what in sorted(said)]

"""Tunes the intervals of the other loops from what their runs measured, one change at a time.

A loop that fills its interval, or whose ticks are missed, is given twice the interval on trial.
The trial is scored over as many ticks as before; where the score is not clearly lower, the
change is rolled back and not tried again for a day. Each change of an interval is an act under
contract: it is read back, and what is not in force was not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import ActionRefusedError
from homeostat.kernels.meta_loop import scoring
from homeostat.kernels.meta_loop.interval import Interval
from homeostat.kernels.meta_loop.scoring import TICKS, Score
from homeostat.store import beat, decisions, tunings
from homeostat.store.beat import BeatEntry
from homeostat.store.checks import CheckRun
from homeostat.store.tunings import Tuning, TuningState
from homeostat.supervision import cadence, events
from homeostat.supervision.contracts import Terms
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Governance, Timetable, Verification

ACTOR = "kernels.meta_loop"
#: A change must lower the score at least to this share of what it was.
CLEARLY_LOWER = 0.9
#: A change that did not help is not tried again for so long.
COOL_DOWN = timedelta(days=1)


class MetaLoop(Component):
    """Changes one interval, measures, and keeps or undoes it."""

    spec = ComponentSpec(
        name="meta_loop",
        wing=Wing.KERNELS,
        tier=5,
        summary="Tunes intervals from measured runs, and undoes a change that did not help.",
        needs=(
            "kernels.health_monitor",
            "kernels.scheduler",
            "kernels.clarity_framework",
            "kernels.governance",
            "kernels.verification_framework",
        ),
        timeout_s=20.0,
    )

    def score(
        self, session: Session, entry: str, interval_s: float, declared_s: float, until: datetime
    ) -> Score:
        """Score the last TICKS ticks of a loop that were due before `until`."""
        return scoring.score(session, entry, interval_s, declared_s, until)

    def propose(self, session: Session, loops: Sequence[BeatEntry], now: datetime) -> Tuning | None:
        """Start the one change that promises most; None where there is none, or one is on trial."""
        if tunings.on_trial(session) is not None:
            return None
        best: tuple[float, str, float, float, Score] | None = None
        for loop in loops:
            entry, interval_s, declared_s = loop.name, loop.interval_s, loop.declared_s
            seen = scoring.seen(session, entry, interval_s, now)
            if not seen or self._cooling(session, entry, now):
                continue
            score = self.score(session, entry, interval_s, declared_s, now)
            wanted = scoring.wanted(score, interval_s, declared_s)
            urgency = score.load if wanted > interval_s else -score.load
            if wanted != interval_s and (best is None or urgency > best[0]):
                best = (urgency, entry, interval_s, wanted, score)
        if best is None:
            return None
        try:
            return self._start(session, *best[1:], now)
        except ActionRefusedError:
            return None

    def _allowed(self, session: Session, entry: str) -> bool:
        governance: Governance = self.need("kernels.governance")
        decision = governance.decide(
            session, action="tune.interval", risk="low", actor=ACTOR, subject=entry
        )
        return bool(decision.allowed)

    def _cooling(self, session: Session, entry: str, now: datetime) -> bool:
        return any(
            past.ended_at is not None and now - past.ended_at < COOL_DOWN
            for past in tunings.history(session, entry)[:1]
        )

    def _start(
        self, session: Session, entry: str, before: float, after: float, score: Score, now: datetime
    ) -> Tuning:
        why = f"load {score.load:.2f} at an interval of {before:g} s"
        terms, effect = self._change(session, entry, after)
        outcome = self._verification().under_contract(session, terms, effect, risk="low")
        tuning = Tuning(
            name=entry,
            before=before,
            after=after,
            score_before=score.total,
            state=TuningState.TRIAL,
            why=why,
            started_at=now,
            # One tick more than is scored, so that the first one under the new interval is whole.
            judge_at=now + timedelta(seconds=(TICKS + 1) * after),
        )
        session.add(tuning)
        if not outcome.held:
            tuning.state, tuning.ended_at = TuningState.ROLLED_BACK, now
            tuning.why = f"{why}; it was not taken up: {outcome.reason}"
        name = "tuning.started" if outcome.held else f"tuning.{tuning.state}"
        self._record(session, tuning, name, {"before": before, "after": after})
        return tuning

    def _change(self, session: Session, entry: str, interval_s: float) -> tuple[Terms, Interval]:
        """Return the change as an act under contract: what is read must be what was asked for."""
        terms = Terms("tune.interval", entry, ACTOR, {"interval_s": interval_s})
        timetable: Timetable = self.need("kernels.scheduler")
        return terms, Interval(session, timetable, entry, interval_s, ACTOR)

    def _verification(self) -> Verification:
        found: Verification = self.need("kernels.verification_framework")
        return found

    def judge(self, session: Session, now: datetime) -> Tuning | None:
        """Keep or roll back the change on trial, once its time has come."""
        tuning = tunings.on_trial(session)
        if tuning is None or now < tuning.judge_at:
            return None
        loop = session.get(BeatEntry, tuning.name)
        declared_s = loop.declared_s if loop else tuning.before
        score = self.score(session, tuning.name, tuning.after, declared_s, now)
        tuning.score_after, tuning.ended_at = score.total, now
        if score.total <= CLEARLY_LOWER * tuning.score_before:
            tuning.state = TuningState.KEPT
        else:
            tuning.state = TuningState.ROLLED_BACK
            if loop is not None:
                undoing = self._change(session, tuning.name, tuning.before)
                self._verification().within(session, *undoing)
        figures: dict[str, JsonValue] = {
            "score_before": round(tuning.score_before, 4),
            "score_after": round(score.total, 4),
        }
        self._record(session, tuning, f"tuning.{tuning.state}", figures)
        session.flush()
        return tuning

    def _record(
        self, session: Session, tuning: Tuning, action: str, payload: dict[str, JsonValue]
    ) -> None:
        decisions.record(
            session,
            component=ACTOR,
            action=action,
            subject=tuning.name,
            inputs=payload,
            rule=tuning.why,
            alternatives=[
                {"action": f"leave it at {tuning.before:g} s", "because": "one change is tried"}
            ],
            outcome=tuning.state,
        )
        told: dict[str, JsonValue] = {
            "entry": tuning.name, "state": tuning.state,
            "before": tuning.before, "after": tuning.after,
        }  # fmt: skip
        events.tell(session, "tuning.changed", told, publisher=ACTOR, key=tuning.name)

    def probe(self, session: Session) -> Evidence:
        """Tune two made-up loops, one that it helps and one that it does not, and undo it all."""
        watch = Stopwatch()
        with undone(session):
            if (held := tunings.on_trial(session)) is not None:
                # The system's own trial goes on when the savepoint is gone.
                held.state = TuningState.KEPT
                session.flush()
            helped = self._play(session, run_s=0.2, missed_before=0.8, missed_after=0.0)
            not_helped = self._play(session, run_s=0.2, missed_before=0.8, missed_after=0.8)
            agreed = self._allowed(session, "probe")
        # In a mode in which nothing runs by itself, no change may even begin.
        expected: tuple[tuple[str, float], ...] = (("not proposed", 0.0), ("not proposed", 0.0))
        if agreed:
            expected = ((TuningState.KEPT, 2.0), (TuningState.ROLLED_BACK, 1.0))
        return Evidence(
            claim="a change that helps is kept and in force, one that does not is rolled back",
            passed=(helped, not_helped) == expected,
            observed={
                "helped": list(helped),
                "not_helped": list(not_helped),
                "governance_agrees": agreed,
            },
            seconds=watch.seconds,
        )

    def _play(
        self, session: Session, *, run_s: float, missed_before: float, missed_after: float
    ) -> tuple[str, float]:
        entry, interval_s, now = f"probe.{new_id()}", 10.0, utcnow()
        loop = BeatEntry(name=entry, task="probe", interval_s=interval_s, declared_s=interval_s)
        loop.source = beat.ADDED
        session.add(loop)
        # Two ticks more than are scored, so that the loop has been running for long enough.
        _made_up_runs(session, entry, interval_s, now, run_s, missed_before, TICKS + 2)
        tuning = self.propose(session, [loop], now)
        if tuning is None or tuning.name != entry or tuning.state != TuningState.TRIAL:
            return "not proposed", 0.0
        judged = tuning.judge_at
        _made_up_runs(session, entry, tuning.after, judged, run_s, missed_after)
        self.judge(session, judged)
        found = session.scalar(
            select(Tuning.state).where(Tuning.name == entry).order_by(Tuning.started_at.desc())
        )
        in_force = session.get_one(BeatEntry, entry, populate_existing=True).interval_s
        return str(found), in_force / interval_s

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Judge the change on trial, or start one."""
        loops = beat.timetable(session)
        judged = self.judge(session, due_at)
        started = self.propose(session, loops, due_at)
        observed: dict[str, JsonValue] = {
            "loops": len(loops),
            "judged": f"{judged.name}: {judged.state}" if judged else None,
            "started": f"{started.name}: {started.before:g} → {started.after:g} s"
            if started
            else None,
        }
        return CycleResult(work=len(loops), observed=observed)


def _made_up_runs(
    session: Session,
    entry: str,
    interval_s: float,
    until: datetime,
    run_s: float,
    missed: float,
    ticks: int = TICKS,
) -> None:
    start = until - timedelta(seconds=ticks * interval_s)
    due: Sequence[datetime] = [*cadence.due_between(entry, interval_s, start, until)]
    kept = [moment for n, moment in enumerate(due) if n == 0 or n / len(due) >= missed]
    for moment in kept:
        run = CheckRun(entry=entry, component="probe", due_at=moment, started_at=moment)
        run.ended_at, run.passed, run.worker = moment + timedelta(seconds=run_s), True, "probe"
        session.add(run)
    session.flush()

"""Learns from outcomes how far each remedy is to be trusted, and which of two rivals is better."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.repair.confidence import Confidence, confidence, ranked
from homeostat.store import decisions, lessons, remedies
from homeostat.store.lessons import Lesson
from homeostat.store.repair import KnownFix
from homeostat.supervision import events
from homeostat.supervision.events import undone

#: Outcomes within which the better of two rivals must have won (issue: within 30).
PROBE_OUTCOMES = 30
#: The same luck in each probe, so that what changes its outcome is the code and never chance.
PROBE_SEED = 7
#: How often the probe's two rivals work.
PROBE_RATES = {"probe:good": 0.9, "probe:bad": 0.3}


class LearningIntegration(Component):
    """Keeps one lesson a remedy: its posterior, and whether it is still to be used."""

    spec = ComponentSpec(
        name="learning_integration",
        wing=Wing.KERNELS,
        tier=4,
        summary="Learns from outcomes which fixes and playbooks work, and which to stop trusting.",
        needs=("kernels.memory_fusion",),
        timeout_s=10.0,
    )

    def prefer(self, session: Session, rivals: Sequence[str]) -> list[str]:
        """Return the subjects, the most promising first, without those no longer trusted."""
        known = {lesson.subject: lesson for lesson in lessons.all_lessons(session)}
        trusted = [name for name in rivals if name not in known or known[name].trusted]
        tally = {name: (known[name].won, known[name].lost) for name in trusted if name in known}
        return ranked(trusted, tally)

    def learn(self, session: Session, outcomes: Mapping[str, tuple[int, int]]) -> list[str]:
        """Take in (won, lost) per subject; return the subjects whose trust changed."""
        changed = []
        for subject, (won, lost) in outcomes.items():
            lesson = session.get(Lesson, subject)
            now = confidence(won, lost)
            if lesson is None:
                lesson = Lesson(subject=subject, trusted=True)
                session.add(lesson)
            if lesson.trusted != now.trusted:
                changed.append(subject)
                self._announce(session, subject, now)
            lesson.won, lesson.lost = won, lost
            lesson.mean, lesson.upper, lesson.trusted = now.mean, now.upper, now.trusted
            lesson.learnt_at = utcnow()
        session.flush()
        return changed

    def _announce(self, session: Session, subject: str, now: Confidence) -> None:
        other = "keep using it" if not now.trusted else "go on without it"
        decisions.record(
            session,
            component=self.spec.full_name,
            action="trust.restored" if now.trusted else "trust.withdrawn",
            subject=subject,
            inputs={"won": now.won, "lost": now.lost, "mean": round(now.mean, 4)},
            rule=f"the posterior's upper bound is {now.upper:.2f}",
            alternatives=[{"action": other, "because": "its outcomes say otherwise"}],
            outcome="done",
        )
        told: dict[str, JsonValue] = {
            "subject": subject, "trusted": now.trusted, "mean": now.mean,
        }  # fmt: skip
        events.tell(session, "trust.changed", told, publisher=self.spec.full_name, key=subject)

    def probe(self, session: Session) -> Evidence:
        """Let two remedies compete whose rates are known: the better one must win, and one that
        only fails must lose its trust.
        """
        watch = Stopwatch()
        chance = random.Random(PROBE_SEED)  # noqa: S311  # a simulation, not a secret
        tally = dict.fromkeys(PROBE_RATES, (0, 0))
        tries = dict.fromkeys(PROBE_RATES, 0)
        with undone(session):
            for _ in range(PROBE_OUTCOMES):
                self.learn(session, tally)
                chosen = (self.prefer(session, list(PROBE_RATES)) or ["probe:none"])[0]
                if chosen not in PROBE_RATES:
                    break
                won, lost = tally[chosen]
                worked = chance.random() < PROBE_RATES[chosen]
                tally[chosen] = (won + worked, lost + (not worked))
                tries[chosen] += 1
            self.learn(session, {**tally, "probe:hopeless": (0, PROBE_OUTCOMES)})
            order = self.prefer(session, ["probe:hopeless", "probe:bad", "probe:good"])
            # What the probe played through is nobody's lesson.
        return Evidence(
            claim="the better of two remedies wins, and one that only fails is not offered",
            passed=order[:1] == ["probe:good"]
            and "probe:hopeless" not in order
            and tries["probe:good"] > tries["probe:bad"],
            observed={"order": list(order), "tries": dict(tries)},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Learn from every outcome so far."""
        del due_at
        outcomes = {f"playbook:{name}": n for name, n in remedies.tally(session).items()}
        outcomes |= self._fixes(session)
        changed = self.learn(session, outcomes)
        return CycleResult(
            work=len(outcomes), observed={"lessons": len(outcomes), "trust_changed": list(changed)}
        )

    def _fixes(self, session: Session) -> dict[str, tuple[int, int]]:
        statement = select(
            KnownFix.strategy, func.sum(KnownFix.successes), func.sum(KnownFix.failures)
        ).group_by(KnownFix.strategy)
        rows = session.execute(statement)
        return {f"fix:{name}": (int(won), int(lost)) for name, won, lost in rows}

"""Why each automated act was done, and how far each component has earned trust.

Trust is the mean of a Beta posterior over proven work: (1 + successes) / (2 + successes +
failures), with evidence that fades by half each day. Below the floor a component is quarantined:
a switch (`quarantine:<component>`) that whoever would let it act by itself reads first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.store import controls, decisions
from homeostat.store.audit import AuditRow
from homeostat.store.checks import CheckRun
from homeostat.store.decisions import DecisionRecord, Trust
from homeostat.supervision import events
from homeostat.supervision.events import undone

_NAME = "kernels.clarity_framework"
#: Quarantine begins below the floor and ends above the release: the gap keeps it from flapping.
FLOOR, RELEASE = 0.3, 0.5
HALF_LIFE = timedelta(days=1)
#: Evidence that a verdict needs before it may quarantine: three failures from nothing reach 0.2.
LEAST_EVIDENCE = 3.0
#: How far back the first count looks.
_FIRST_LOOK = timedelta(hours=1)


class UnknownDecisionError(HomeostatError):
    """No decision has that id."""

    exit_code = 64


class ClarityFramework(Component):
    """Records decisions, explains them, and keeps the trust of each component."""

    spec = ComponentSpec(
        name="clarity_framework",
        wing=Wing.KERNELS,
        tier=1,
        summary="Says why each automated act was done, and whom the system trusts.",
        needs=("kernels.immutable_log",),
        timeout_s=20.0,
    )

    def record(
        self,
        session: Session,
        *,
        component: str,
        action: str,
        subject: str,
        inputs: Mapping[str, JsonValue],
        rule: str,
        alternatives: Sequence[Mapping[str, JsonValue]] = (),
        outcome: str = "",
    ) -> DecisionRecord:
        """Record one automated act, linked to its row in the audit log.

        Each alternative is {"action": what else was possible, "because": why it was not taken}.
        """
        # Written through the store, as kernels of every tier do that must say why they acted:
        # they must not fall silent with this kernel or with the log's.
        return decisions.record(
            session,
            component=component,
            action=action,
            subject=subject,
            inputs=inputs,
            rule=rule,
            alternatives=alternatives,
            outcome=outcome,
        )

    def explain(self, session: Session, decision_id: str) -> str:
        """Return the decision in one paragraph; raises UnknownDecisionError.

        Where the record no longer agrees with its audit row, the paragraph says so.
        """
        record = session.get(DecisionRecord, decision_id)
        if record is None:
            raise UnknownDecisionError(f"No decision has the id {decision_id!r}.")
        knew = ", ".join(f"{name} = {_shown(value)}" for name, value in record.inputs.items())
        others = "; ".join(
            f"{other.get('action')} was possible, but {other.get('because')}"
            for other in record.alternatives
        )
        words = (
            f"At {record.at:%Y-%m-%d %H:%M:%S} UTC {record.component} did {record.action} on "
            f"{record.subject}, because of the rule “{record.rule}”. It knew {knew or 'nothing'}. "
            f"{others or 'No alternative was weighed'}. "
            f"What came of it: {record.outcome or 'not known yet'}."
        )
        return f"{words} {self._audit_words(session, record)}"

    def _audit_words(self, session: Session, record: DecisionRecord) -> str:
        row = session.scalar(select(AuditRow).where(AuditRow.sequence == record.audit_sequence))
        if row is None:
            return f"Its audit row {record.audit_sequence} is missing!"
        told = json.loads(row.payload)
        agrees = (
            told.get("decision") == record.id
            and told.get("inputs") == record.inputs
            and told.get("alternatives") == record.alternatives
        )
        if not agrees:
            return f"It does not agree with its audit row {row.sequence}!"
        return f"Audit row {row.sequence} says the same."

    def trust(self, session: Session, component: str) -> float:
        """Return the component's trust, 0 to 1; 0.5 where nothing is known of it."""
        row = session.get(Trust, component)
        return score(row.successes, row.failures) if row else score(0.0, 0.0)

    def is_quarantined(self, session: Session, component: str) -> bool:
        """Return whether the component may do nothing by itself for now."""
        return controls.is_on(session, controls.QUARANTINE + component)

    def note(
        self, session: Session, component: str, *, successes: int, failures: int, now: datetime
    ) -> Trust:
        """Add proven outcomes to a component's trust, and set or lift its quarantine."""
        row = session.get(Trust, component)
        if row is None:
            row = Trust(component=component, successes=0.0, failures=0.0)
            session.add(row)
        fade = faded(now - row.counted_until) if row.counted_until else 1.0
        row.successes = row.successes * fade + successes
        row.failures = row.failures * fade + failures
        row.counted_until = now
        self._judge(session, row, now)
        session.flush()
        return row

    def _judge(self, session: Session, row: Trust, now: datetime) -> None:
        value = score(row.successes, row.failures)
        known = row.successes + row.failures >= LEAST_EVIDENCE
        if row.quarantined_at is None and known and value < FLOOR:
            row.quarantined_at = now
            reason = f"trust {value:.2f} is below {FLOOR}"
            controls.set_on(
                session, controls.QUARANTINE + row.component, actor=_NAME, reason=reason
            )
            self._tell(session, row.component, value, on=True)
        elif row.quarantined_at is not None and value > RELEASE:
            row.quarantined_at = None
            controls.lift(session, controls.QUARANTINE + row.component)
            self._tell(session, row.component, value, on=False)

    def _tell(self, session: Session, component: str, trust: float, *, on: bool) -> None:
        told: dict[str, JsonValue] = {"component": component, "on": on, "trust": trust}
        events.tell(session, "quarantine.changed", told, publisher=_NAME, key=component)

    def probe(self, session: Session) -> Evidence:
        """Record and explain a decision, then distrust and trust a component; undo it all."""
        watch = Stopwatch()
        nonce = new_id()
        name, now = f"probe.{nonce}", utcnow()
        with undone(session):
            record = self.record(
                session,
                component=name,
                action="probe",
                subject=nonce,
                inputs={"nonce": nonce},
                rule="the probe's own",
                alternatives=[{"action": "nothing", "because": "a probe must work"}],
                outcome="seen",
            )
            told = self.explain(session, record.id)
            before = self.trust(session, name)
            self.note(session, name, successes=0, failures=8, now=now)
            low, quarantined = self.trust(session, name), self.is_quarantined(session, name)
            self.note(session, name, successes=20, failures=0, now=now)
            high, released = self.trust(session, name), not self.is_quarantined(session, name)
        explained = nonce in told and "says the same" in told and "a probe must work" in told
        return Evidence(
            claim="a decision is explained from its record, and trust follows proven work",
            passed=explained and low < before < high and quarantined and released,
            observed={
                "nonce": nonce,
                "explained": explained,
                "trust": [before, low, high],
                "quarantined_when_low": quarantined,
                "released_when_high": released,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Count the check runs since the last cycle into the components' trust."""
        del due_at
        now = utcnow()
        known = decisions.trust_rows(session)
        since = max(
            (row.counted_until for row in known.values() if row.counted_until),
            default=now - _FIRST_LOOK,
        )
        tally: dict[str, list[int]] = {}
        for component, passed in session.execute(
            select(CheckRun.component, CheckRun.passed).where(
                CheckRun.ended_at > since, CheckRun.ended_at <= now
            )
        ):
            tally.setdefault(component, [0, 0])[0 if passed else 1] += 1
        for component, (won, lost) in tally.items():
            self.note(session, component, successes=won, failures=lost, now=now)
        quarantined = [
            name for name, row in decisions.trust_rows(session).items() if row.quarantined_at
        ]
        counted = sum(won + lost for won, lost in tally.values())
        return CycleResult(
            work=1 + counted,
            observed={"runs_counted": counted, "quarantined": list(quarantined)},
        )


def score(successes: float, failures: float) -> float:
    """Return the mean of the Beta posterior with a uniform prior."""
    return (1.0 + successes) / (2.0 + successes + failures)


def faded(age: timedelta) -> float:
    """Return the weight that evidence of that age still has."""
    return math.exp2(-max(age, timedelta()) / HALF_LIFE)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

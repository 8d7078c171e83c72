"""Runtime triggers: rules that turn events into incidents or tasks, with cooldown and loop cut.

An event is acked only once its firing is committed: the firing's row (rule and event) is unique,
so an event that comes again does nothing twice, and is acked then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.dispatch import queue_of
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.recognition import report
from homeostat.kernels.trigger_mesh import observers
from homeostat.kernels.trigger_mesh.observers import Facts, Observation
from homeostat.kernels.trigger_mesh.rules import Rule, RuleError, filled, load, refuse_unfed
from homeostat.store import firings, jobs
from homeostat.store.firings import Firing
from homeostat.supervision.events import undone
from homeostat.supervision.ports import Bus

__all__ = ["Rule", "RuleError", "TriggerMesh"]

_NAME = "kernels.trigger_mesh"
_GROUP = "trigger_mesh"
#: A file of this name in the state folder adds rules to those that ship.
OWN_RULES = "trigger_rules.toml"
_BATCH, _MOST_BATCHES = 100, 10


class TriggerMesh(Component):
    """Observes, takes events off the bus, and acts on them by rule."""

    spec = ComponentSpec(
        name="trigger_mesh",
        wing=Wing.KERNELS,
        tier=2,
        summary="Turns events into incidents or tasks by rule, never twice and never in a loop.",
        needs=("kernels.message_bus",),
        timeout_s=25.0,
    )

    def rules(self) -> tuple[Rule, ...]:
        """Return the rules in force; raises RuleError where one is malformed or nobody feeds it."""
        own: Path = self.context.settings.state_dir / OWN_RULES
        rules = load() + (load(own) if own.exists() else ())
        bus: Bus = self.need("kernels.message_bus")
        refuse_unfed(rules, bus.producers(), observers.KINDS, registry.names())
        return rules

    def observe(self, session: Session) -> list[Observation]:
        """Look at everything that this kernel watches itself, and tell the bus what differs."""
        settings = self.context.settings
        local = {kind: facts(settings) for kind, facts in observers.LOCAL.items()}
        known = observers.read_baselines(settings)
        found = [*observers.models(session), *observers.errors(session)]
        for kind, facts in local.items():
            if kind in known:
                found += observers.compare(kind, known[kind], facts)
        fields = observers.telemetry(session)
        found += observers.dropped_fields(known.get("telemetry", {}), fields)
        bus: Bus = self.need("kernels.message_bus")
        for one in found:
            bus.publish("observation.made", one.payload(), publisher=_NAME, key=one.subject)
        # After the events are on the bus: a crash in between tells a thing twice, never not at all.
        merged: dict[str, Facts] = {
            **local, "telemetry": {**known.get("telemetry", {}), **fields},
        }  # fmt: skip
        if merged != known:
            observers.write_baselines(settings, merged)
        return found

    def handle(
        self, session: Session, rules: Sequence[Rule], topic: str, event: str, payload: Any
    ) -> list[Firing]:
        """Act on one event by every rule that fits, each rule once per event."""
        return [
            self._fire(session, rule, event, payload)
            for rule in rules
            if rule.event == topic
            and rule.fits(payload)
            and not firings.known(session, rule.name, event)
        ]

    def _fire(
        self, session: Session, rule: Rule, event: str, payload: Mapping[str, JsonValue]
    ) -> Firing:
        subject = filled(rule.subject, payload)[:190]
        firing = Firing(
            id=new_id(), rule=rule.name, event_id=event, subject=subject, at=utcnow(), job_id="",
            held_back=self._held_back(session, rule, subject), payload=dict(payload),
        )  # fmt: skip
        session.add(firing)
        session.flush()
        if not firing.held_back:
            firing.job_id = self._act(session, rule, firing, payload)
            session.flush()
        return firing

    def _held_back(self, session: Session, rule: Rule, subject: str) -> str:
        now = utcnow()
        if firings.fired_since(session, rule.name, now - timedelta(hours=1)) >= rule.most_per_hour:
            return f"loop cut: {rule.most_per_hour} firings in an hour"
        cooldown = now - timedelta(seconds=rule.cooldown_s)
        if rule.cooldown_s and firings.fired_since(session, rule.name, cooldown, subject):
            return f"cooldown of {rule.cooldown_s:.0f} s"
        if rule.at_least > 1:
            since = now - timedelta(seconds=rule.within_s)
            seen = _seen_since(session, rule.name, subject, since) + 1
            if seen < rule.at_least:
                return f"{seen} of {rule.at_least} within {rule.within_s:.0f} s"
        return ""

    def _act(
        self, session: Session, rule: Rule, firing: Firing, payload: Mapping[str, JsonValue]
    ) -> str:
        if rule.incident is None:
            task = rule.task or ""
            job = jobs.enqueue(
                session,
                task,
                {"event": dict(payload), "rule": rule.name},
                queue=queue_of(task),
                natural_key=f"trigger:{firing.id}",
            )
            return job or ""
        failure = Failure.without_frames(
            type=rule.incident.type,
            message=filled(rule.incident.message, payload),
            source=Source.TRIGGER,
            component=filled(rule.incident.component, payload),
            task=rule.name,
        )
        incident = report(
            session, failure, severity=rule.incident.severity, sighting=f"trigger:{firing.id}"
        )
        return str(incident.id)

    def probe(self, session: Session) -> Evidence:
        """Fire a rule on a planted event, and see cooldown, mismatch and an unfed rule hold."""
        watch = Stopwatch()
        nonce = new_id()
        rules = self.rules()
        planted = Rule(
            name=f"probe {nonce}"[:64],
            event="observation.made",
            where={"kind": nonce},
            subject="{subject}",
            task="upkeep.sweep",
            cooldown_s=60,
        )
        with undone(session):
            payload: dict[str, JsonValue] = {"kind": nonce, "subject": nonce}
            first = self.handle(session, [planted], "observation.made", f"{nonce}-1", payload)
            again = self.handle(session, [planted], "observation.made", f"{nonce}-1", payload)
            cooled = self.handle(session, [planted], "observation.made", f"{nonce}-2", payload)
            other = self.handle(
                session, [planted], "observation.made", f"{nonce}-3", {"kind": "another"}
            )
            job = session.get(jobs.Job, first[0].job_id) if first else None
            fired = job is not None and dict(job.kwargs["event"]) == payload
        unfed = self._refuses_unfed()
        held = [one.held_back for one in cooled]
        return Evidence(
            claim="an event fires its rule once, cooldown holds, and an unfed rule is refused",
            passed=fired
            and not again
            and not other
            and len(held) == 1
            and held[0].startswith("cooldown")
            and unfed
            and len(rules) > 0,
            observed={
                "nonce": nonce,
                "rules": len(rules),
                "fired": fired,
                "fired_again": len(again),
                "fired_on_another": len(other),
                "held_back": list(held),
                "unfed_rule_refused": unfed,
            },
            seconds=watch.seconds,
        )

    def _refuses_unfed(self) -> bool:
        bus: Bus = self.need("kernels.message_bus")
        unfed = Rule(name="unfed", event="nobody.publishes", task="upkeep.sweep")
        try:
            refuse_unfed([unfed], bus.producers(), observers.KINDS, registry.names())
        except RuleError:
            return True
        return False

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Observe, then act on every event that came since the last cycle."""
        del due_at
        rules = self.rules()
        observed = self.observe(session)
        made: list[Firing] = []
        events = 0
        for topic in sorted({rule.event for rule in rules}):
            count, fired = self._work_off(session, rules, topic)
            events += count
            made += fired
        acted = [one for one in made if one.job_id]
        return CycleResult(
            work=1 + len(made),
            observed={
                "rules": len(rules),
                "observations": [f"{one.kind}: {one.subject}" for one in observed][:50],
                "events": events,
                "fired": [f"{one.rule}: {one.subject}" for one in acted],
                "held_back": len(made) - len(acted),
            },
        )

    def _work_off(
        self, session: Session, rules: Sequence[Rule], topic: str
    ) -> tuple[int, list[Firing]]:
        bus: Bus = self.need("kernels.message_bus")
        consumer = bus.subscribe(topic, _GROUP, _GROUP)
        made: list[Firing] = []
        count = 0
        for _ in range(_MOST_BATCHES):
            deliveries = consumer.read(count=_BATCH)
            fresh = False
            for delivery in deliveries:
                fired = self.handle(
                    session, rules, topic, delivery.event.id, delivery.event.payload
                )
                made += fired
                fresh = fresh or bool(fired)
                count += 1
                if not fired:
                    # No rule fits, or its firing is committed already: nothing hangs on it.
                    consumer.ack(delivery)
            if fresh or not deliveries:
                break  # what fired comes again in the next cycle, and is acked then
        return count, made


def _seen_since(session: Session, rule: str, subject: str, since: datetime) -> int:
    statement = (
        select(func.count())
        .select_from(Firing)
        .where(Firing.rule == rule, Firing.subject == subject, Firing.at >= since)
    )
    return int(session.scalar(statement) or 0)

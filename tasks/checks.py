"""One task per component, `checks.<wing>.<name>`, each with its own limits and retries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import from_iso, utcnow
from homeostat.component import ComponentSpec
from homeostat.incidents.recovery import healthy_run
from homeostat.registry import LoadFailure
from homeostat.store.timing import RepeatKind, note_repeat
from homeostat.supervision.check import (
    BY_HAND,
    BY_HAND_INTERVAL_S,
    Tick,
    already_run,
    record_failure,
    run_check,
)
from workers.app import app
from workers.base import TRANSIENT, HomeostatTask

#: Seconds between the soft and the hard limit of a check: time to record what it ran into.
GRACE_S = 5.0
#: The limits of a component whose spec cannot be read, because its module does not load.
UNKNOWN_TIMEOUT_S = 30.0


class CheckTask(HomeostatTask):
    """Runs one check; a failure is recorded on the run, the lease and as an incident."""

    abstract = True
    recover_after: ClassVar[int] = 1

    def repeat_kind(self, kwargs: Mapping[str, Any]) -> RepeatKind:
        """Return why this message asks for a tick that has run already.

        What the broker hands out again is marked so, and so is what Celery retries; a message of
        its own says that the tick was published twice.
        """
        if kwargs.get("catch_up"):
            return RepeatKind.CAUGHT_UP
        again = (self.request.delivery_info or {}).get("redelivered") or self.request.retries
        return RepeatKind.REDELIVERED if again else RepeatKind.PUBLISHED_TWICE

    def record_failure(
        self, session: Session, error: BaseException, kwargs: Mapping[str, Any]
    ) -> None:
        """Record the failed run and what it does to the lease."""
        tick = tick_of(self.component, **kwargs)
        reason = f"{type(error).__name__}: {error}"
        record_failure(session, self.component, tick, reason, fail_after=self.fail_after)


def tick_of(
    component: str,
    entry: str | None = None,
    due_at: str | None = None,
    interval_s: float = BY_HAND_INTERVAL_S,
    **_newer: object,
) -> Tick:
    """Return the tick that a message asks for; keywords of a newer sender are passed over."""
    due = from_iso(due_at) if due_at else utcnow()
    return Tick(entry or f"{BY_HAND}.{component}", due, interval_s)


def check(self: CheckTask, **kwargs: Any) -> None:
    """Run the component's check for the tick in `kwargs`, unless that tick has run already."""
    tick = tick_of(self.component, **kwargs)
    with self.unit_of_work() as session:
        if already_run(session, tick):
            note_repeat(session, tick.entry, tick.due_at, self.repeat_kind(kwargs), self.request.id)
            return
    component = registry.find(self.component)
    try:
        with self.unit_of_work() as session:
            if run_check(session, component, tick) is not None:
                healthy_run(session, self.component, recover_after=self.recover_after)
    except IntegrityError:
        # Another worker recorded the same tick between our look and our commit.
        with self.unit_of_work() as session:
            if not already_run(session, tick):
                raise
            note_repeat(session, tick.entry, tick.due_at, self.repeat_kind(kwargs), self.request.id)


def register(name: str, spec: ComponentSpec | None) -> None:
    """Register the check of one component under its own name, limits and retries."""
    timeout = spec.timeout_s if spec else UNKNOWN_TIMEOUT_S
    retries = spec.retries if spec else None
    attempts = retries.attempts if retries else 0
    base = type(
        "ComponentCheck",
        (CheckTask,),
        {
            "abstract": True,
            "component": name,
            "fail_after": spec.thresholds.fail_after if spec else 1,
            "recover_after": spec.thresholds.recover_after if spec else 1,
            "__module__": __name__,
        },
    )
    app.task(
        check,
        name=f"checks.{name}",
        base=base,
        bind=True,
        rate_limit=spec.rate_limit if spec else None,
        soft_time_limit=timeout,
        time_limit=timeout + GRACE_S,
        max_retries=attempts or CheckTask.max_retries,
        autoretry_for=(Exception,) if attempts else TRANSIENT,
        retry_backoff=retries.backoff_s if retries else True,
        retry_backoff_max=retries.backoff_max_s if retries else 30,
        retry_jitter=retries.jitter if retries else True,
    )


for _name, _found in registry.load_all():
    register(_name, None if isinstance(_found, LoadFailure) else _found.spec)

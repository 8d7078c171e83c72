"""One component's boot: tried in a thread of its own, with a time-out, and the lease it earns."""

from __future__ import annotations

import queue
import threading

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import Component, Evidence
from homeostat.errors import HomeostatError, ProbeFailedError
from homeostat.store import database
from homeostat.store.beat import BeatEntry
from homeostat.supervision.check import Tick, renew_lease

#: A lease that boot wrote is believed as if checks came this often, in seconds, or as often as the
#: timetable says where that is less often: the first tick must still find it.
BOOT_INTERVAL_S = 60.0


class BootTimeoutError(HomeostatError):
    """A component did not boot in time."""


class Attempt:
    """Boots one component in a thread of its own, so that a hang holds nobody up."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._answer: queue.SimpleQueue[Evidence | BaseException] = queue.SimpleQueue()
        self._under_way = False

    def outcome(self) -> Evidence:
        """Return the evidence; raises what the component raised, or BootTimeoutError.

        A try that is still under way after its time-out is waited for by the next one: beginning
        the same work beside it would only slow both down.
        """
        if not self._under_way:
            threading.Thread(target=self._work, daemon=True, name=f"boot {self._name}").start()
            self._under_way = True
        try:
            outcome = self._answer.get(timeout=self._timeout_s)
        except queue.Empty:
            raise BootTimeoutError(
                f"{self._name} did not boot within {self._timeout_s:.0f} s."
            ) from None
        self._under_way = False
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _work(self) -> None:
        try:
            self._answer.put(_booted(registry.find(self._name)))
        except BaseException as error:  # noqa: BLE001  # handed over to the waiting thread
            self._answer.put(error)


def _booted(component: Component) -> Evidence:
    """Boot in a transaction of its own, and write the lease that the evidence earns."""
    name = component.spec.full_name
    with database.transaction() as session:
        evidence = component.boot(session)
        if not evidence.passed:
            raise ProbeFailedError(f"{name}: {evidence.claim} did not hold: {evidence.observed}")
        if not evidence.observed:
            raise ProbeFailedError(f"{name}: it says that it passed and not what it observed.")
        renew_lease(session, component, tick(name, session), evidence)
    return evidence


def tick(name: str, session: Session) -> Tick:
    """Return the tick under which a boot is recorded."""
    entry = session.get(BeatEntry, name)
    interval_s = max(BOOT_INTERVAL_S, entry.interval_s if entry else 0.0)
    return Tick(f"boot.{name}", utcnow(), interval_s)


def said(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {error}"

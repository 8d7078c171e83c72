"""Boot as a workflow: tier by tier, each component with a time-out, three tries and evidence.

What fails is left out and becomes an incident; what needs it is DEGRADED with that as the
reason; the rest runs on. Works with and without a running stack: where the embedded Redis server
is not up, one is started for as long as the boot takes.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from graphlib import CycleError, TopologicalSorter

from homeostat import registry
from homeostat.clock import new_id
from homeostat.component import Component, ComponentSpec, Evidence, State, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.incidents import spool
from homeostat.incidents.failure import Failure, Severity, Source
from homeostat.incidents.recognition import report as report_incident
from homeostat.registry import LoadFailure
from homeostat.settings import Settings, settings
from homeostat.store import checks, database
from homeostat.store.embedded import EmbeddedServer
from homeostat.supervision.boot_attempt import Attempt, said, tick
from homeostat.supervision.boot_report import BootReport, BootRow, TierRow
from homeostat.supervision.check import record_failure

log = logging.getLogger(__name__)

TRIES = 3
#: The waits between the tries, in seconds.
BACKOFF_S = (0.2, 0.6)
#: So many kernels of a tier boot side by side. On SQLite they queue for its one write lock, and
#: what they wait for outside the database (a process, a socket) still overlaps.
WIDTH = 4
#: The tier of a component whose spec cannot be read, where no earlier lease knows it.
LAST_TIER = 9


class CircularNeedsError(HomeostatError):
    """Components need each other in a circle; take one of the needs out."""


Progress = Callable[[BootRow], None]
#: Sends the messages of job rows; it is called after the commit that wrote them.
Send = Callable[[Iterable[str]], object]


def boot(on_row: Progress = lambda _row: None, send: Send = tuple) -> BootReport:
    """Boot every component and return the report; `on_row` is told each as it ends.

    `send` is given the analysis job of each failure at once; without it they wait for the sweeper.
    Raises StoreUnavailableError or StateFolderError where there is nothing to boot on.
    """
    watch = Stopwatch()
    database.migrate()
    with _redis_at_hand(settings()):
        workflow = _Workflow(on_row, send)
        kernels = [name for name in workflow.names if name.startswith(f"{Wing.KERNELS}.")]
        others = [name for name in workflow.names if name not in kernels]
        tiers = workflow.boot_all(kernels)
        seconds = watch.seconds
        workflow.boot_subsystems(others)
    rows = [workflow.rows[name] for name in kernels]
    return BootReport(
        running=sum(row.state is State.RUNNING for row in rows),
        total=len(rows),
        seconds=round(seconds, 3),
        tiers=tiers,
        components=sorted(rows, key=lambda row: (row.tier, row.name)),
        subsystems=sorted(
            (workflow.rows[name] for name in others), key=lambda row: (row.tier, row.name)
        ),
    )


@contextmanager
def _redis_at_hand(settings: Settings) -> Iterator[None]:
    if not settings.embeds_redis:
        yield
        return
    server = EmbeddedServer(settings)
    try:
        server.start()
    except HomeostatError:
        # The components that need it fail with the reason, and the others still boot.
        log.exception("The embedded Redis server could not be started for the boot")
    try:
        yield
    finally:
        server.stop()


class _Workflow:
    """One boot: what was loaded, and the rows so far."""

    def __init__(self, on_row: Progress, send: Send) -> None:
        self._on_row, self._send = on_row, send
        self._found: dict[str, type[Component] | LoadFailure] = {}
        for name, kind in registry.load_all():
            self._found[name] = kind
            if not isinstance(kind, LoadFailure):
                _prepare(name)
        self.names = list(self._found)
        self.rows: dict[str, BootRow] = {}
        self._specs: dict[str, ComponentSpec] = {
            name: kind.spec
            for name, kind in self._found.items()
            if not isinstance(kind, LoadFailure)
        }
        self._known_tiers = _known_tiers()
        self._width = WIDTH
        self._sqlite = settings().database.startswith("sqlite")
        for name, kind in self._found.items():
            if isinstance(kind, LoadFailure):
                # Known before the first tier, so that what needs it is told the true reason.
                self._set(self._failed(name, self._tier(name), 0.0, 1, kind.error))

    def boot_all(self, names: Sequence[str]) -> list[TierRow]:
        """Boot these components tier by tier."""
        tiers = sorted({self._tier(name) for name in names})
        return [self._boot_tier(t, [n for n in names if self._tier(n) == t]) for t in tiers]

    def boot_subsystems(self, names: Sequence[str]) -> None:
        """Boot what stands on the kernels; on SQLite one after the other.

        They compute for seconds in their transactions, and would time out in each other's queue.
        """
        self._width = 1 if self._sqlite else WIDTH
        self.boot_all(names)

    def _boot_tier(self, tier: int, names: Sequence[str]) -> TierRow:
        watch = Stopwatch()
        mine = [name for name in names if name not in self.rows]
        order = TopologicalSorter({name: self._needs_within(name, mine) for name in mine})
        try:
            order.prepare()
        except CycleError as error:
            self._set_cycle(error.args[1], tier)
            return self._boot_tier(tier, names)
        self._side_by_side(order)
        running = sum(self.rows[name].state is State.RUNNING for name in names)
        return TierRow(
            tier=tier, running=running, total=len(names), seconds=round(watch.seconds, 3)
        )

    def _needs_within(self, name: str, mine: Sequence[str]) -> list[str]:
        return [need for need in self._specs[name].needs if need in mine]

    def _side_by_side(self, order: TopologicalSorter[str]) -> None:
        """Boot what is ready, and then what that makes ready, up to the width at a time."""
        done: queue.SimpleQueue[BootRow] = queue.SimpleQueue()
        ready: list[str] = []
        busy = 0
        while order.is_active():
            ready += order.get_ready()
            while ready and busy < self._width:
                name = ready.pop(0)
                work = partial(self._boot_into, name, done)
                threading.Thread(target=work, daemon=True, name=f"boot of {name}").start()
                busy += 1
            row = done.get()
            busy -= 1
            self._set(row)
            order.done(row.name)

    def _boot_into(self, name: str, done: queue.SimpleQueue[BootRow]) -> None:
        try:
            done.put(self._booted(name))
        except BaseException as error:  # noqa: BLE001  # an answer must come, or the boot would hang
            done.put(self._failed(name, self._tier(name), 0.0, 1, error))

    def _set_cycle(self, cycle: Sequence[str], tier: int) -> None:
        path = " → ".join(cycle)
        for name in set(cycle):
            error = CircularNeedsError(f"{name} needs itself: {path}.")
            self._set(self._failed(name, tier, 0.0, 0, error))

    def _booted(self, name: str) -> BootRow:
        watch = Stopwatch()
        spec = self._specs[name]
        down = self._not_running(spec.needs)
        attempt = Attempt(name, spec.timeout_s)
        tries = 0
        retried: list[str] = []
        while True:
            tries += 1
            try:
                evidence = attempt.outcome()
            except Exception as error:  # noqa: BLE001  # a component may raise anything at boot
                if down:
                    # Its need is the cause, and has its own incident: no second one, no retries.
                    reason = f"needs {down}; its own boot said: {said(error)}"
                    return self._degraded(name, watch, tries, reason, None)
                if tries == TRIES:
                    row = self._failed(name, spec.tier, watch.seconds, tries, error)
                    return row.model_copy(update={"retried": retried})
                retried.append(said(error)[:300])
                time.sleep(BACKOFF_S[tries - 1])
                continue
            if failed := self._failed_needs(spec.needs):
                return self._degraded(name, watch, tries, f"needs {failed}", evidence)
            return BootRow(
                name=name,
                tier=spec.tier,
                state=State.RUNNING,
                seconds=round(watch.seconds, 3),
                tries=tries,
                evidence=evidence.model_dump(mode="json"),
                retried=retried,
            )

    def _failed(
        self, name: str, tier: int, seconds: float, tries: int, error: BaseException
    ) -> BootRow:
        """Record the failed boot, open its incident, ask for its analysis, and return its row."""
        incident = None
        failure = Failure.from_exception(error, source=Source.BOOT, component=name)
        sighting = f"boot:{name}:{new_id()}"
        try:
            with database.transaction() as session:
                record_failure(session, name, tick(name, session), said(error))
                incident = report_incident(
                    session, failure, severity=Severity.CRITICAL, sighting=sighting
                ).id
            self._send(session.info.get("jobs_to_send", ()))
        except Exception:
            # The row still says that it failed; no boot ends because a record cannot be made.
            log.exception("The failed boot of %s is kept for later", name)
            spool.keep(failure, severity=Severity.CRITICAL, sighting=sighting)
        return BootRow(
            name=name,
            tier=tier,
            state=State.FAILED,
            seconds=round(seconds, 3),
            tries=tries,
            error=said(error),
            incident=incident,
        )

    def _degraded(
        self, name: str, watch: Stopwatch, tries: int, reason: str, evidence: Evidence | None
    ) -> BootRow:
        return BootRow(
            name=name,
            tier=self._tier(name),
            state=State.DEGRADED,
            seconds=round(watch.seconds, 3),
            tries=tries,
            evidence=evidence.model_dump(mode="json") if evidence else None,
            error=reason,
        )

    def _not_running(self, needs: Iterable[str]) -> str:
        """Return the first need that is not RUNNING, with its state; empty where all are."""
        for need in needs:
            row = self.rows.get(need)
            if row is None or row.state is not State.RUNNING:
                return f"{need}, which is {row.state if row else 'missing'}"
        return ""

    def _failed_needs(self, needs: Iterable[str]) -> str:
        """Return the first need that did not boot at all; one that is only DEGRADED still works."""
        for need in needs:
            row = self.rows.get(need)
            if row is None or row.state is State.FAILED:
                return f"{need}, which is {row.state if row else 'missing'}"
        return ""

    def _tier(self, name: str) -> int:
        spec = self._specs.get(name)
        return spec.tier if spec else self._known_tiers.get(name, LAST_TIER)

    def _set(self, row: BootRow) -> None:
        self.rows[row.name] = row
        self._on_row(row)


def _prepare(name: str) -> None:
    """Let a component begin what takes long while the others are still being loaded."""
    try:
        registry.find(name).prepare()
    except Exception:
        # What could not be begun early, the boot does itself, or fails with the reason.
        log.exception("The boot of %s could not be prepared", name)


def _known_tiers() -> Mapping[str, int]:
    with database.reading() as session:
        return {name: lease.tier for name, lease in checks.leases(session).items()}

"""Faults on the store."""

from __future__ import annotations

import sqlite3
import threading
import time

from sqlalchemy.engine import make_url

from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan
from homeostat.chaos.ground import await_true
from homeostat.chaos.load import PROBE_PRIORITY
from homeostat.chaos.scenario import Proof
from homeostat.store.database import BUSY_TIMEOUT_S

#: How long the prober waits for the lock, in seconds: less than any lock that is held.
_PROBE_S = 0.2
#: The victim's task works this long, in seconds, so that it wants to write while the lock is held.
WORK_S = 1.0
#: In a control run (recovery off) the lock outlasts who waits for it by so many seconds.
LONGER_S = 5.0
#: How long it may take to begin, in seconds.
BEGIN_S = 20.0


class LockStore(Fault):
    """Another process holds SQLite's only write lock for `seconds`, and a task wants to write."""

    def plan(self) -> Plan:
        """Find the file; raises FaultNotPossibleError on a server."""
        url = make_url(self.ground.settings.database)
        if url.get_backend_name() != "sqlite" or not url.database:
            raise FaultNotPossibleError("Only SQLite has one write lock; the store is a server.")
        return Plan(clues={"file": url.database})

    def strike(self, plan: Plan) -> None:
        """Ask for a task, and once it works take the lock in a thread that gives it back in time.

        The lock belongs to this process's connection: it cannot outlive the runner.
        """
        plan.key, _ = self.load.submit(work_s=WORK_S, announce=True, priority=PROBE_PRIORITY)
        if not await_true(lambda: self.starts(plan), BEGIN_S):
            raise FaultNotPossibleError(f"The victim's task did not begin within {BEGIN_S:.0f} s.")
        taken = threading.Event()
        seconds = float(str(self.arguments.get("seconds", 5)))
        if not self.ground.settings.recovery:
            seconds = BUSY_TIMEOUT_S + LONGER_S

        def hold() -> None:
            connection = sqlite3.connect(str(plan.clues["file"]), timeout=10, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                taken.set()
                time.sleep(seconds)
                connection.execute("ROLLBACK")
            finally:
                connection.close()

        threading.Thread(target=hold, name="lock", daemon=True).start()
        taken.wait(12)

    def happened(self, plan: Plan) -> Proof:
        """A writer does not get the lock, and the task that works has had no effect yet."""
        locked, done = not self._writable(plan), self.done(plan)
        return self.proof(
            "a writer does not get the lock, and a task is about to ask for it",
            held=locked and not done,
            locked=locked,
            effect_before_the_lock=done,
        )

    def remedied(self, plan: Plan) -> Proof | None:
        """A writer gets the lock again, and the task that waited for it has had its effect."""
        free, done = self._writable(plan), self.done(plan)
        claim = "a writer gets the lock, and the task that waited has had its effect"
        return self.proof(claim, held=free and done, free=free, effect=done)

    @staticmethod
    def _writable(plan: Plan) -> bool:
        file = str(plan.clues["file"])
        connection = sqlite3.connect(file, timeout=_PROBE_S, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.close()
        return True

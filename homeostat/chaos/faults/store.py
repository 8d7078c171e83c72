"""Faults on the store."""

from __future__ import annotations

import sqlite3
import threading
import time

from sqlalchemy.engine import make_url

from homeostat.chaos.faults.fault import Fault, FaultNotPossibleError, Plan
from homeostat.chaos.scenario import Proof

#: How long the prober waits for the lock, in seconds: less than any lock that is held.
_PROBE_S = 0.2


class LockStore(Fault):
    """Another process holds SQLite's only write lock for `seconds`."""

    def plan(self) -> Plan:
        """Find the file; raises FaultNotPossibleError on a server."""
        url = make_url(self.ground.settings.database)
        if url.get_backend_name() != "sqlite" or not url.database:
            raise FaultNotPossibleError("Only SQLite has one write lock; the store is a server.")
        return Plan(clues={"file": url.database})

    def strike(self, plan: Plan) -> None:
        """Take the lock in a thread that gives it back after its time.

        The lock belongs to this process's connection: it cannot outlive the runner.
        """
        taken = threading.Event()
        seconds = float(str(self.arguments.get("seconds", 5)))

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
        """A writer does not get the lock."""
        locked = not self._writable(plan)
        return self.proof("a writer does not get the lock", held=locked)

    def remedied(self, plan: Plan) -> Proof | None:
        """A writer gets the lock again."""
        return self.proof("a writer gets the lock", held=self._writable(plan))

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

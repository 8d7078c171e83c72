"""Sees that a fix has landed in the code that the stack's own processes run.

Workers renew themselves, whoever started them. What serves, schedules and watches is restarted by
the stack, one after the other, so that two cores are not busy with five starts at once; a stop
that was asked for gives the beat's lock back, so that no tick is doubled. What falls due in
between can be missed, and the ledger shows it.
"""

from __future__ import annotations

import time
from datetime import datetime

from homeostat.clock import utcnow
from homeostat.repair import pickup
from homeostat.supervision.renewal import LOOK_EVERY_S, Renewal

#: What is restarted, first to last: the API's clients notice nothing before the beat rests.
RESTARTED_IN_TURN = ("api", "beat", "observer")
#: What has to load before anything is restarted.
_MODULES = ("homeostat.api.serve", "workers.beat", "workers.observer")


class MendedCode:
    """Looks at the marks of the code that the stack runs."""

    def __init__(self, since: datetime) -> None:
        """Follow from `since` on, when this process began to read its code."""
        self._renewal = self._follow(since)
        self._next_look = 0.0

    def _follow(self, since: datetime) -> Renewal:
        return Renewal(pickup.followed([__name__]), since, _MODULES)

    def arrived(self) -> bool:
        """Return whether a fix has landed since the last time, and its code loads.

        Code that does not load is not taken up; that is said beside the mark, for whoever watches
        the fix.
        """
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + LOOK_EVERY_S
        if not self._renewal.outdated():
            return False
        seen_at = utcnow()
        if not self._renewal.loads():
            return False
        self._renewal = self._follow(seen_at)
        return True

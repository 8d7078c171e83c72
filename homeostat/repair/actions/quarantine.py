"""Acts on the queues."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue
from redis import Redis

from homeostat.component import Evidence
from homeostat.incidents.failure import Severity
from homeostat.incidents.recognition import report
from homeostat.repair.actions.ground import Ground
from homeostat.supervision import poison
from homeostat.supervision.contracts import CannotUndoError


class PurgePoison:
    """Moves undecodable messages off the queues; none may be left and none may be lost."""

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Count the poison and the quarantined."""
        with poison.connect(ground.settings()) as client:
            found = len(poison.find(client))
            return {"poison": found, "quarantined": _length(client)}

    def act(self, ground: Ground) -> bool:
        """Move each aside, and count it as a worker does that meets one."""
        with poison.connect(ground.settings()) as client:
            moved = [one for one in poison.find(client) if poison.quarantine(client, one)]
        with ground.transaction() as session:
            for one in moved:
                report(session, poison.failure_of(one.queue, one.why), severity=Severity.HIGH)
        return bool(moved)

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Look again: the queues are clean and the quarantine holds what was moved."""
        with poison.connect(ground.settings()) as client:
            left, quarantined = len(poison.find(client)), _length(client)
        found, old = before["poison"], before["quarantined"]
        grown = isinstance(found, int) and isinstance(old, int) and quarantined >= old + found
        return Evidence(
            claim="undecodable messages were found, none is on a queue now, each is in quarantine",
            passed=bool(found) and left == 0 and grown,
            observed={"found": found, "left": left, "quarantined": quarantined},
        )

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Poison is not put back on a queue; it lies in quarantine. Raises CannotUndoError."""
        del ground, before
        raise CannotUndoError("What was moved into quarantine stays there, whole.")


def _length(client: Redis) -> int:
    rows = client.llen(poison.QUARANTINE)
    return rows if isinstance(rows, int) else 0

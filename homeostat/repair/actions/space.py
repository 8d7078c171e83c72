"""Acts on the disk: what may be forgotten is forgotten before there is no room left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil
from pydantic import JsonValue

from homeostat.component import Evidence
from homeostat.incidents import retention as incident_retention
from homeostat.repair.actions.ground import Ground
from homeostat.store import database, trading_retention
from homeostat.store import retention as store_retention
from homeostat.supervision import snapshots
from homeostat.supervision.contracts import CannotUndoError

#: So many of each kind of snapshot are left: half a day of hourly ones.
FEWER = 12
#: Bytes that must come free: the write-ahead log alone breathes by some hundred kilobytes.
LEAST_FREED = 1_000_000


class FreeSpace:
    """Forgets what is older than its time, thins out snapshots, and drops rotated logs.

    Only what would have been deleted later anyway goes. The state folder must be seen to be
    smaller by a megabyte afterwards; where nothing was left to free, a person has to make room.
    """

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember how many bytes the state folder holds."""
        return {"used_bytes": _used(ground.settings().state_dir)}

    def act(self, ground: Ground) -> bool:
        """Free what there is to free; False where there was nothing."""
        with ground.transaction() as session:
            counts = store_retention.forget(session) | trading_retention.forget(session)
            counts |= vars(incident_retention.run(session))
        gone = snapshots.thin(FEWER) + _drop_rotated_logs(ground.settings().state_dir)
        return database.shrink_journal() > 0 or gone > 0 or sum(counts.values()) > 0

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Measure the folder again."""
        folder = ground.settings().state_dir
        used, was = _used(folder), before["used_bytes"]
        return Evidence(
            claim="the state folder takes a megabyte less room than before",
            passed=isinstance(was, int) and was - used >= LEAST_FREED,
            observed={
                "used_bytes_before": was,
                "used_bytes": used,
                "disk_free_bytes": psutil.disk_usage(str(folder)).free,
            },
        )

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """What was forgotten stays forgotten; raises CannotUndoError."""
        del ground, before
        raise CannotUndoError("What was older than its time is not brought back.")


def _used(folder: Path) -> int:
    """Return the bytes on disk of all files below, those that go away meanwhile left out."""
    used = 0
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except OSError:
            continue
        used += found.st_blocks * 512
    return used


def _drop_rotated_logs(folder: Path) -> int:
    """Delete the logs that their process has put aside: `worker.log.1`."""
    gone = 0
    for path in (folder / "logs").glob("*.log.[0-9]*"):
        path.unlink(missing_ok=True)
        gone += 1
    return gone

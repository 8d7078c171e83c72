"""The real app with two tasks more, which fail in ways that a test decides while it runs."""

from __future__ import annotations

import os
from pathlib import Path

from homeostat.component import ComponentSpec, Thresholds, Wing
from tasks.checks import register
from workers.app import app

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
#: Far more than the group of the test allows, and bearable where no group holds it back.
HUNGER = 256 * 1024 * 1024

#: Its class does not load, so each of its checks fails until there is one.
register(
    "plugins.valve",
    ComponentSpec(
        name="valve",
        wing=Wing.PLUGINS,
        tier=1,
        summary="Opens.",
        thresholds=Thresholds(fail_after=3),
    ),
)


@app.task(name="stress.hungry")  # type: ignore[untyped-decorator]  # Celery publishes no types
def hungry(group: str, eaten: str) -> None:
    """Enter a memory group and allocate more than it allows, the first time."""
    if Path(eaten).exists():
        return
    Path(eaten).touch()
    (MEMORY_GROUPS / group / "cgroup.procs").write_text(str(os.getpid()))
    bytearray(HUNGER)

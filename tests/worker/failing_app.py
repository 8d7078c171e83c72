"""The real app with two tasks more, which fail in ways that a test decides while it runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from homeostat import registry
from homeostat.component import ComponentSpec, Thresholds, Wing
from homeostat.store import database
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


@app.task(name="stress.indiscreet")  # type: ignore[untyped-decorator]  # Celery publishes no types
def indiscreet(secret: str) -> None:
    """Open a secret, and fail with its value in the message, in a local and in the log."""
    manager: Any = registry.find("kernels.secret_manager")
    with database.transaction() as session:
        value = manager.retrieve(session, secret, actor="stress.indiscreet")
    wrapped = {"token": value, "url": f"https://venue.example/orders?key={value}"}
    logging.getLogger(__name__).error("The venue refused %s", value)
    raise ConnectionError(f"{wrapped['url']} said no to {value}")


@app.task(name="stress.hungry")  # type: ignore[untyped-decorator]  # Celery publishes no types
def hungry(group: str, eaten: str) -> None:
    """Enter a memory group and allocate more than it allows, the first time."""
    if Path(eaten).exists():
        return
    Path(eaten).touch()
    (MEMORY_GROUPS / group / "cgroup.procs").write_text(str(os.getpid()))
    bytearray(HUNGER)

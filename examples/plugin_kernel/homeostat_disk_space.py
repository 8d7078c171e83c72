"""A component of your own, in a distribution of your own: it watches the state folder's disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime

from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing

LOWEST_FREE_RATIO = 0.02


class DiskSpace(Component):
    """Probe: a file written and read back; cycle: the free share is measured."""

    spec = ComponentSpec(
        name="disk_space",
        wing=Wing.PLUGINS,
        tier=2,
        summary="Watches that the disk of the state folder takes what is written to it.",
        interval_s=30,
        timeout_s=10,
        rate_limit="10/m",
        # What only it can put right: tried before any playbook that ships.
        remedies={"OSError": "clear_scratch"},
    )

    def probe(self, session: Session) -> Evidence:
        """Write random bytes, read them back, compare."""
        del session
        watch = Stopwatch()
        written = os.urandom(4096)
        with tempfile.TemporaryFile(dir=self.context.settings.ensure_state_dir()) as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            read = file.read()
        return Evidence(
            claim="what is written to the disk is read back",
            passed=read == written,
            observed={"written": len(written), "read": len(read)},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Measure the free share; a disk nearly full raises, and so becomes an incident."""
        del session, due_at
        usage = shutil.disk_usage(self.context.settings.state_dir)
        free = usage.free / usage.total
        if free < LOWEST_FREE_RATIO:
            raise OSError(f"The disk of the state folder is nearly full: {free:.1%} free.")
        return CycleResult(work=1, observed={"free_ratio": round(free, 4)})

    def heal(self, session: Session, remedy: str) -> Evidence:
        """Empty the scratch folder beside the state; the probe has to pass afterwards."""
        if remedy != "clear_scratch":
            return super().heal(session, remedy)
        scratch = self.context.settings.state_dir / "scratch"
        files = sum(path.is_file() for path in scratch.rglob("*"))
        shutil.rmtree(scratch, ignore_errors=True)
        return Evidence(
            claim="the scratch folder is gone",
            passed=not scratch.exists(),
            observed={"files": files, "left": scratch.exists()},
        )

"""Broken sandboxes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from homeostat.kernels.sandbox import SandboxKernel
from homeostat.repair.sandbox import Run


class RunsNothing(SandboxKernel):
    def execute(self, code: str, *arguments: str, **more: Any) -> Run:
        del code
        return super().execute("pass", *arguments, **more)


class RunsWithoutWalls(SandboxKernel):
    def execute(self, code: str, *arguments: str, **more: Any) -> Run:
        del more
        words = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        walled = super().execute("print('{}')")
        return walled.__class__(**{**vars(walled), "stdout": done.stdout})


class RepeatsAnOldRun(SandboxKernel):
    def execute(self, code: str, *arguments: str, **more: Any) -> Run:
        # What an honest run said once: every way out was closed, for another secret.
        return super().execute(code, "planted-long-ago", *arguments[1:], **more)


VARIANTS = {
    "does nothing": RunsNothing,
    "returns success": RunsWithoutWalls,
    "stale data stamped now": RepeatsAnOldRun,
}

"""A sandbox that is started before it is wanted: it waits for one order, and is gone with it.

Each run still has an interpreter, a copy of the tree and name spaces of its own, which no other
run has seen; only the wait for their start, and for pytest's, is over when the patch is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from homeostat.repair.sandbox.isolation import PATCH
from homeostat.repair.sandbox.patch import lay_patch
from homeostat.repair.sandbox.watching import Run, Watched

#: The module that waits inside, and what it is told: the tree's folder, and where the order comes.
MODULE = "homeostat_ready"


class Ready:
    """One waiting sandbox; either `run` or `close` is called, once."""

    def __init__(self, tree: Path, root: Path, start: Callable[[Path, int], Watched]) -> None:
        """Start it: `start` gets the patch's folder and the descriptor on which the order comes.

        `root` is where the tree stands inside. Raises SandboxError.
        """
        self._tree, self._root = tree, root
        self._scratch = tempfile.TemporaryDirectory(prefix="homeostat-ready-")
        self._patch = Path(self._scratch.name) / "patch"
        self._patch.mkdir(mode=0o755)
        Path(self._scratch.name).chmod(0o755)
        reading, self._order = os.pipe()
        try:
            self._watched = start(self._patch, reading)
        except BaseException:
            os.close(self._order)
            self._scratch.cleanup()
            raise
        finally:
            os.close(reading)

    def run(
        self,
        command: Sequence[str],
        changes: Mapping[str, str | None],
        env: Mapping[str, str],
        wall_s: float | None,
    ) -> Run:
        """Send the order, and wait for its end; `env` is all that the command will find set."""
        deleted = lay_patch(self._tree, changes, self._patch)
        order = {
            "command": list(command),
            "env": dict(env),
            "copies": [[PATCH, str(self._root)]] if changes else [],
            "deleted": [str(self._root / path) for path in deleted],
        }
        # One that has died meanwhile cannot be told anything, and its status says the rest.
        with contextlib.suppress(BrokenPipeError), os.fdopen(self._order, "wb") as pipe:
            pipe.write(json.dumps(order).encode())
        try:
            return self._watched.wait(wall_s)
        finally:
            self._scratch.cleanup()

    def close(self) -> None:
        """End it unused."""
        os.close(self._order)
        self._watched.end()
        self._scratch.cleanup()

"""Runs code that is not trusted yet, and proves each minute that it cannot break out."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import ProbeFailedError
from homeostat.repair.sandbox import Isolation, Limits, Run, Sandbox, detect_isolation
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from homeostat.repair.sandbox.limits import MEGABYTE
from homeostat.store.repair import Repair
from homeostat.supervision import events

#: Tries to break out in four ways and prints what it managed; honest work comes first.
_BREAK_OUT = """
import json, os, socket, sys
secret, outside, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
managed = {"worked": 6 * 7, "root": os.getuid() == 0, "env": secret in str(dict(os.environ))}
managed["answer"] = secret
def tries(name, action):
    try:
        action()
        managed[name] = True
    except OSError:
        managed[name] = False
tries("read", lambda: open(outside).read())
tries("write", lambda: open(outside, "w").write("broken out"))
tries("network", lambda: socket.create_connection(("127.0.0.1", port), 1))
tries("kill", lambda: os.kill(int(sys.argv[4]), 0))
print(json.dumps(managed))
"""
_HARM = ("root", "env", "read", "write", "network", "kill")
#: What is told of the sandbox's use reaches back so far.
WINDOW = timedelta(hours=1)
_LIMITS = Limits(wall_s=10, cpu_s=5, memory_bytes=512 * MEGABYTE, processes=16)


class SandboxKernel(Component):
    """Keeps the sandbox honest: a program that tries to break out has to fail."""

    spec = ComponentSpec(
        name="sandbox",
        wing=Wing.KERNELS,
        tier=3,
        summary="Runs code that is not trusted yet, where it can reach nothing and nobody.",
        needs=("kernels.governance",),
        timeout_s=30.0,
    )

    def execute(self, code: str, *arguments: str, limits: Limits = _LIMITS) -> Run:
        """Run a Python program in an empty folder of the sandbox."""
        with tempfile.TemporaryDirectory(prefix="homeostat-sandbox-") as folder:
            root = Path(folder) / "work"
            root.mkdir()
            sandbox = Sandbox(root, root, inspect_interpreter(Path(sys.executable)), limits)
            return sandbox.run([str(sandbox.interpreter.executable), "-c", code, *arguments])

    def probe(self, session: Session) -> Evidence:
        """Run a program that tries to break out, and see that each way is closed."""
        del session
        watch = Stopwatch()
        seen = self._attempt()
        done = [name for name in _HARM if seen.get(name, True)]
        isolated = detect_isolation() is Isolation.BUBBLEWRAP
        return Evidence(
            claim="honest code runs, and code that tries to break out fails",
            passed=isolated
            and seen.get("worked") == 42
            and seen.get("answers_this") is True
            and seen.get("outside_kept") is True
            and not done,
            observed={**seen, "isolation": detect_isolation().value, "broken_out_by": list(done)},
            seconds=watch.seconds,
        )

    def _attempt(self) -> dict[str, JsonValue]:
        secret = secrets.token_hex(8)
        with (
            tempfile.TemporaryDirectory(prefix="homeostat-outside-") as folder,
            socket.socket() as server,
        ):
            outside = Path(folder) / "secret.txt"
            outside.write_text(secret)
            server.bind(("127.0.0.1", 0))
            server.listen()
            # The reader is given its own process to kill: it must not even see it.
            run = self.execute(
                _BREAK_OUT, "planted-" + secret, str(outside),
                str(server.getsockname()[1]), str(os.getpid()),
            )  # fmt: skip
            kept = outside.read_text() == secret
        try:
            seen: dict[str, JsonValue] = json.loads(run.stdout)
        except json.JSONDecodeError:
            return {"error": run.output[-500:], "stopped": run.stopped}
        # What was said to an earlier question is no answer to this one.
        seen["answers_this"] = seen.pop("answer", "") == f"planted-{secret}"
        return {**seen, "outside_kept": kept, "seconds": round(run.seconds, 3)}

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Try once more to break out, and tell what was run in here: how often, what was refused.

        Raises ProbeFailedError where it succeeds: the probe that went before may have had luck.
        """
        evidence = self.probe(session)
        if not evidence.passed:
            raise ProbeFailedError(f"The second attempt was not held: {evidence.observed}")
        told = {**self._ran(session, due_at), "isolation": evidence.observed["isolation"]}
        told["broken_out_by"] = evidence.observed["broken_out_by"]
        # The same figures are no news: they are told once an hour.
        figures = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
        once = f"{due_at:%Y%m%dT%H}:{figures}"
        events.tell(session, "sandbox.ran", told, publisher=self.spec.full_name, once=once)
        return CycleResult(work=1, observed={**evidence.observed, **told})

    def _ran(self, session: Session, now: datetime) -> dict[str, JsonValue]:
        """Return what the sandbox was used for within the hour: proofs, and those that failed."""
        found = session.scalars(
            select(Repair.outcome).where(Repair.created_at > now - WINDOW, Repair.created_at <= now)
        )
        proofs = [proof for outcome in found for proof in _proofs(outcome)]
        refused = [str(proof["refusal"]) for proof in proofs if not proof["holds"]]
        return {
            "proofs": len(proofs),
            "steps": sum(len(proof["steps"]) for proof in proofs),
            "refused": len(refused),
            "last_refusal": refused[-1][:200] if refused else "",
        }


def _proofs(outcome: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each proof of a repair: of the patch that held, and of those that did not."""
    for attempt in (outcome.get("fix"), *outcome.get("refused", ())):
        if attempt and attempt.get("proof"):
            yield attempt["proof"]

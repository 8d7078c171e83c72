"""Mends code: from an incident to a proven patch, ruled on by governance, applied, remembered."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.kernels.coding_agent.approval import Approvals
from homeostat.kernels.coding_agent.mending import EVIDENT, End, Mending, Standing
from homeostat.kernels.coding_agent.record import ACTOR
from homeostat.kernels.coding_agent.watching import Watching
from homeostat.repair.agent import Apply, Options, RepairOutcome, fix
from homeostat.repair.apply import recover
from homeostat.repair.proof.prover import Depth
from homeostat.store.audit import AuditRow
from homeostat.store.repair import Repair
from homeostat.supervision.ports import AuditLog, Clarity, Governance

__all__ = ["CodingAgent", "End", "Standing"]

_MODULE = '''"""A till."""


def total(prices, discount_rate=0.0):
    """Add prices up, less a discount."""
    return sum(prices) * (1 - discount_rate)
'''
_USER = """from till import total

assert total([10, 30], discount=0.5) == 20
"""


class CodingAgent(Component):
    """Drives repairs and keeps their record."""

    spec = ComponentSpec(
        name="coding_agent",
        wing=Wing.KERNELS,
        tier=3,
        summary="Finds the cause of a failure in code, proves a patch, applies it, remembers it.",
        needs=(
            "kernels.message_bus",
            "kernels.immutable_log",
            "kernels.sandbox",
            "kernels.governance",
            "kernels.clarity_framework",
        ),
        timeout_s=60.0,
    )

    def pursue(self, incident_id: str, repository: Path, command: str) -> Standing:
        """Go on with the repair of an incident; opens transactions of its own."""
        return self._mending().pursue(incident_id, repository, command)

    def look(self, repair_id: str) -> datetime | None:
        """Look at an applied fix; return when to look again, None where its watch is over."""
        return self._watching().look(repair_id)

    def approve(self, repair_id: str, by: str) -> Repair:
        """Apply a proposed fix on a person's word; raises NotOpenError or RefusedError."""
        return Approvals(self._mending()).approve(repair_id, by)

    def apply(self, repair_id: str, by: str) -> Repair:
        """Apply what was approved elsewhere, or what a crash cut short; what is over is left."""
        return Approvals(self._mending()).apply(repair_id, by)

    def reject(self, repair_id: str, by: str, reason: str) -> Repair:
        """Refuse a proposed fix; raises NotOpenError."""
        return Approvals(self._mending()).reject(repair_id, by, reason)

    def follow_up(self, session: Session) -> tuple[int, int, int]:
        """Set going what people decided; return how many are applied, ended, and wait."""
        return Approvals(self._mending()).follow_up(session)

    def take_back(self, repair_id: str, by: str, reason: str) -> Repair:
        """Take an applied fix back on a person's word; raises NotOpenError."""
        return self._watching().take_back(repair_id, reason, actor=by)

    def repair(self, repository: Path, command: str, options: Options) -> RepairOutcome:
        """Find the cause, prove a patch, and apply it as the options allow."""
        return fix(repository, command, options)

    def _mending(self) -> Mending:
        governance: Governance = self.need("kernels.governance")
        clarity: Clarity = self.need("kernels.clarity_framework")
        return Mending(self.context.settings, self.repair, governance, clarity)

    def _watching(self) -> Watching:
        clarity: Clarity = self.need("kernels.clarity_framework")
        return Watching(clarity)

    def _log(self, session: Session, outcome: RepairOutcome, resource: str) -> AuditRow:
        log: AuditLog = self.need("kernels.immutable_log")
        title = outcome.chosen.candidate.title if outcome.chosen else ""
        return log.append(
            session,
            actor=ACTOR,
            action=EVIDENT,
            resource=resource,
            decision=outcome.verdict.ruling.value if outcome.verdict else "none",
            subsystem=self.spec.full_name,
            payload={"repair": outcome.id, "title": title, "commit": outcome.commit,
                     "failure": outcome.failure},
            result=outcome.status.value,
        )  # fmt: skip

    def probe(self, session: Session) -> Evidence:
        """Mend a small repository with a renamed parameter, and see its program pass again.

        What it did is in the audit log, under its own name, as after every repair.
        """
        watch = Stopwatch()
        with tempfile.TemporaryDirectory(prefix="homeostat-probe-") as folder:
            repository = Path(folder) / "shop"
            repository.mkdir()
            (repository / "till.py").write_text(_MODULE)
            (repository / "user.py").write_text(_USER)
            for words in (
                ("init", "-q"),
                ("add", "-A"),
                ("-c", "user.name=probe", "-c", "user.email=probe@localhost",
                 "commit", "-q", "-m", "Drift"),
            ):  # fmt: skip
                subprocess.run(["git", *words], cwd=repository, check=True, capture_output=True)
            options = Options(apply=Apply.POLICY, depth=Depth(suite=False))
            outcome = self.repair(repository, "python user.py", options)
            mended = "def total(prices, discount=0.0)" in (repository / "till.py").read_text()
            caller_kept = (repository / "user.py").read_text() == _USER
        logged = self._log(session, outcome, "probe")
        return Evidence(
            claim="a renamed parameter is mended at the function, proven, committed and logged",
            passed=mended
            and caller_kept
            and outcome.status.value == "applied"
            and logged.subsystem == self.spec.full_name,
            observed={
                "logged_by": logged.subsystem,
                "failure": outcome.failure,
                "status": outcome.status.value,
                "mended": mended,
                "caller_kept": caller_kept,
                "steps": [step.name for step in outcome.chosen.proof.steps]
                if outcome.chosen
                else [item.proof.refusal for item in outcome.refused],
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Finish what a crash cut short, and set going what people decided.

        Work is what was done: a recovered repository, fixes sent to be applied, proposals ended.
        """
        del due_at
        repository = self.context.settings.repository
        recovered = recover(repository) if repository is not None else ""
        applied, ended, waiting = self.follow_up(session)
        return CycleResult(
            work=bool(recovered) + applied + ended,
            observed={
                "recovered": recovered,
                "sent_to_be_applied": applied,
                "ended": ended,
                "waiting": waiting,
            },
        )

"""Mends code: from an incident to a proven patch, ruled on by governance, applied, remembered."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.repair.agent import Apply, Options, RepairOutcome, fix
from homeostat.repair.apply import recover
from homeostat.repair.case import Candidate
from homeostat.repair.governance import Gate, Ruling, Verdict, policy_gate
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.proof.prover import Depth
from homeostat.settings import Mode
from homeostat.store import database
from homeostat.store.audit import AuditRow
from homeostat.supervision.ports import AuditLog, Governance

ACTOR = "kernels.coding_agent"
#: The action that governance rules on, by its policy: only what the evidence covers comes so far.
ACTION = "fix.apply_evident"

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
        ),
        timeout_s=60.0,
    )

    def mend(self, repository: Path, command: str, incident_id: str = "") -> RepairOutcome:
        """Mend a failing command; each step is in the audit log. Opens transactions of its own."""
        options = Options(
            apply=Apply.POLICY,
            mode=self.context.settings.mode,
            knowledge=Knowledge(database.engine()),
            incident_id=incident_id,
            gate=self.gate(incident_id),
        )
        outcome = self.repair(repository, command, options)
        with database.transaction() as session:
            self._log(session, outcome, incident_id)
        return outcome

    def repair(self, repository: Path, command: str, options: Options) -> RepairOutcome:
        """Find the cause, prove a patch, and apply it as the options allow."""
        return fix(repository, command, options)

    def gate(self, subject: str) -> Gate:
        """Return the gate: the evidence rules first, governance last, because asking counts."""

        def ruled(candidate: Candidate, mode: Mode, successes: int) -> Verdict:
            verdict = policy_gate(candidate, mode, successes)
            if verdict.ruling is Ruling.WAIT:
                return verdict
            governance: Governance = self.need("kernels.governance")
            with database.transaction() as session:
                decision = governance.decide(
                    session, action=ACTION, risk="low", actor=ACTOR, subject=subject
                )
            if decision.allowed:
                return verdict
            return Verdict(Ruling.WAIT, str(decision.reason))

        return ruled

    def _log(self, session: Session, outcome: RepairOutcome, incident_id: str) -> AuditRow:
        log: AuditLog = self.need("kernels.immutable_log")
        title = outcome.chosen.candidate.title if outcome.chosen else ""
        return log.append(
            session,
            actor=ACTOR,
            action=ACTION,
            resource=incident_id or outcome.id,
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
        """Finish what a crash cut short, and count what waits for a person."""
        del session, due_at
        repository = self.context.settings.repository
        recovered = recover(repository) if repository is not None else ""
        waiting = [
            row.id
            for row in Knowledge(database.engine()).repairs(200)
            if row.status in {"waiting", "proposed"}
        ]
        return CycleResult(
            work=1, observed={"waiting": len(waiting), "recovered": recovered, "ids": waiting[:5]}
        )

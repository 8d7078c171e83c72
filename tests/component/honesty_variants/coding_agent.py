"""Broken coding agents."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from homeostat.kernels.coding_agent import CodingAgent
from homeostat.repair.agent import Apply, Options, RepairOutcome, Status


class ProposesOnly(CodingAgent):
    def repair(self, repository: Path, command: str, options: Options) -> RepairOutcome:
        return super().repair(repository, command, replace(options, apply=Apply.NEVER))


class SaysThatItApplied(CodingAgent):
    def repair(self, repository: Path, command: str, options: Options) -> RepairOutcome:
        outcome = super().repair(repository, command, replace(options, apply=Apply.NEVER))
        return replace(outcome, status=Status.APPLIED)


class ReportsTheRepairOfAnother(CodingAgent):
    def repair(self, repository: Path, command: str, options: Options) -> RepairOutcome:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            shutil.copytree(repository, copy)
            return super().repair(copy, command, options)


VARIANTS = {
    "does nothing": ProposesOnly,
    "returns success": SaysThatItApplied,
    "stale data stamped now": ReportsTheRepairOfAnother,
}

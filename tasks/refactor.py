"""The refactor system's rounds, on the queue of the repairs."""

from __future__ import annotations

import sys
from typing import cast

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.repair import refactor, refactoring
from homeostat.settings import settings
from homeostat.store.approvals import Approval
from homeostat.supervision.ports import Governance
from workers.app import app
from workers.base import HomeostatTask

#: What a refactoring is proven by: the repository's own tests.
PROOF = (sys.executable, "-m", "pytest", "-x", "-q")


@app.task(name="fix_analysis.refactor", bind=True, soft_time_limit=540, time_limit=600)
def play_round(self: HomeostatTask, job_id: str | None = None, **_newer: object) -> None:
    """Propose and apply what was learnt, where a repository may be mended."""
    repository = settings().repository
    with self.long_job(job_id) as job:
        if job and repository is not None and settings().recovery:
            refactoring.play(repository, PROOF, spend)


def spend(session: Session, approval: Approval) -> bool:
    """Spend an approved refactoring's approval; False where policy does not let it be spent."""
    governance = cast("Governance", registry.find("kernels.governance"))
    decision = governance.use(
        session, approval.id, action=approval.action, subject=approval.subject, actor=refactor.ACTOR
    )
    return decision.allowed

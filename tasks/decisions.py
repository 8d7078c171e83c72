"""What a person decided about an approval is set going at once, whichever door they came by."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from homeostat import registry
from homeostat.repair import refactor
from homeostat.store import jobs
from homeostat.store.approvals import Approval
from workers.app import app
from workers.base import HomeostatTask

if TYPE_CHECKING:
    from homeostat.kernels.coding_agent import CodingAgent
    from homeostat.kernels.self_healing import SelfHealing

#: The task that proposes and applies refactorings; left alone it comes once an hour.
REFACTOR = "fix_analysis.refactor"


class DecidedTask(HomeostatTask):
    """A task that changes the system: its message must be signed."""

    abstract = True
    signed: ClassVar[bool] = True


@app.task(
    name="fix_analysis.decided", base=DecidedTask, bind=True, soft_time_limit=60, time_limit=75
)
def decided(
    self: DecidedTask, approval_id: str, job_id: str | None = None, **_newer: object
) -> None:
    """Have whoever asked look at what was decided now; their own cycle would find it later."""
    healer = cast("SelfHealing", registry.find("kernels.self_healing"))
    agent = cast("CodingAgent", registry.find("kernels.coding_agent"))
    with self.job(job_id) as session:
        if session is None:
            return
        healer.follow_up(session)
        agent.follow_up(session)
        approval = session.get(Approval, approval_id)
        if approval is not None and approval.requested_by == refactor.ACTOR:
            jobs.enqueue(
                session, REFACTOR, {}, queue="fix_analysis", natural_key=f"{REFACTOR}:{approval_id}"
            )

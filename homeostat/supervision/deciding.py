"""A person's decision about an approval, through the kernel that owns approvals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from homeostat import registry
from homeostat.store import database
from homeostat.supervision.ports import Governance

#: Sends the messages of job rows; it is called after the commit that wrote them.
Send = Callable[[Iterable[str]], object]


def decide(approval_id: str, *, approve: bool, by: str, reason: str, send: Send = tuple) -> None:
    """Decide in a transaction of its own; raises ApprovalError where it is too late for it.

    `send` is given the job that sets the decision going; without it that job waits for the sweeper.
    """
    governance = cast("Governance", registry.find("kernels.governance"))
    decision = governance.approve if approve else governance.reject
    with database.transaction() as session:
        decision(session, approval_id, by=by, reason=reason)
    send(session.info.get("jobs_to_send", ()))

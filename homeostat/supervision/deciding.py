"""A person's decision about an approval, through the kernel that owns approvals."""

from __future__ import annotations

from typing import cast

from homeostat import registry
from homeostat.store import database
from homeostat.supervision.ports import Governance


def decide(approval_id: str, *, approve: bool, by: str, reason: str) -> None:
    """Decide in a transaction of its own; raises ApprovalError where it is too late for it."""
    governance = cast("Governance", registry.find("kernels.governance"))
    decision = governance.approve if approve else governance.reject
    with database.transaction() as session:
        decision(session, approval_id, by=by, reason=reason)

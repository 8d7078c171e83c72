"""A repair's row: how it is found, and what is told of it as it goes on."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.errors import HomeostatError
from homeostat.store.repair import Repair


class UnknownRepairError(HomeostatError):
    """No repair has that id; `homeostat fix list` shows the ids."""

    exit_code = 64


def find(session: Session, repair_id: str) -> Repair:
    """Return a repair by its id, or by the beginning of one; raises UnknownRepairError."""
    row = session.get(Repair, repair_id, populate_existing=True)
    if row is None and len(repair_id) >= 8:
        alike = session.scalars(
            select(Repair).where(Repair.id.startswith(repair_id, autoescape=True)).limit(2)
        ).all()
        row = alike[0] if len(alike) == 1 else None
    if row is None:
        raise UnknownRepairError(
            f"No repair has the id {repair_id}; `homeostat fix list` shows the ids."
        )
    return row


def tell(repair: Repair, what: str, actor: str = "") -> None:
    """Add a sentence to a repair's story."""
    entry = {"at": utcnow().isoformat(), "what": what, **({"actor": actor} if actor else {})}
    repair.story = [*repair.story, entry]

"""Broken audit logs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.kernels.immutable_log import ImmutableLog
from homeostat.store.audit import AuditRow
from homeostat.store.chain import ChainReport


class AppendsNothing(ImmutableLog):
    def append(self, session: Session, **fields: Any) -> AuditRow:
        del session
        fields.pop("payload", None)
        return AuditRow(sequence=1, at=utcnow(), previous_hash="0" * 64, row_hash="1", **fields)


class FindsEverythingIntact(ImmutableLog):
    def verify(self, session: Session, *, after: int = 0) -> ChainReport:
        newest = session.scalars(select(AuditRow).order_by(AuditRow.sequence.desc())).first()
        assert newest is not None
        return ChainReport(newest.sequence - after, True, newest.sequence, newest.row_hash)


class ReturnsAnOldRow(ImmutableLog):
    def append(self, session: Session, **_fields: Any) -> AuditRow:
        newest = session.scalars(select(AuditRow).order_by(AuditRow.sequence.desc())).first()
        if newest is None:
            return super().append(session, actor="x", action="older", resource="r")
        session.expunge(newest)
        newest.at = utcnow()
        return newest


VARIANTS = {
    "does nothing": AppendsNothing,
    "returns success": FindsEverythingIntact,
    "stale data stamped now": ReturnsAnOldRow,
}

"""The append-only audit log: hash-chained rows, signed checkpoints, and a verifier that can fail.

Three things must agree: the rows (each carries the hash of the one before), the head row (how
far the chain reaches), and the checkpoints (signed; the newest one is also kept in a file beside
the database, so that rows cut off together with the head row are missed).
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, JsonValue
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.store import audit, checkpoints, database
from homeostat.store.audit import AuditHead, AuditRow
from homeostat.store.chain import ChainReport, RawRow, raw_rows, verify_chain
from homeostat.store.checkpoints import AuditCheckpoint

_NAME = "kernels.immutable_log"
#: The file beside the database that holds the newest checkpoint.
ANCHOR_FILE = "audit.checkpoint"
#: How many of the last rows the probe verifies.
_TAIL = 50


class LogBrokenError(HomeostatError):
    """The audit log's chain is broken; `homeostat log verify` names the row."""


class _Anchor(BaseModel):
    sequence: int
    row_hash: str
    signature: str


class ImmutableLog(Component):
    """Appends, searches and verifies the audit log."""

    spec = ComponentSpec(
        name="immutable_log",
        wing=Wing.KERNELS,
        tier=0,
        summary="Keeps the audit log, in which an edited, deleted or cut row is found and named.",
        timeout_s=55.0,
    )

    def append(
        self,
        session: Session,
        *,
        actor: str,
        action: str,
        resource: str,
        decision: str = "",
        subsystem: str = "",
        payload: dict[str, JsonValue] | None = None,
        result: str = "",
    ) -> AuditRow:
        """Append one row in the caller's transaction and return it."""
        return audit.append(
            session,
            actor=actor,
            action=action,
            resource=resource,
            decision=decision,
            subsystem=subsystem,
            payload=payload,
            result=result,
        )

    def search(
        self,
        session: Session,
        *,
        actor: str = "",
        action: str = "",
        resource: str = "",
        text: str = "",
        since: datetime | None = None,
        limit: int = 100,
    ) -> Sequence[AuditRow]:
        """Return the newest rows that fit every given condition; `text` looks in the payload."""
        statement = select(AuditRow).order_by(AuditRow.sequence.desc()).limit(limit)
        for column, value in (
            (AuditRow.actor, actor),
            (AuditRow.action, action),
            (AuditRow.resource, resource),
        ):
            if value:
                statement = statement.where(column == value)
        if text:
            statement = statement.where(
                or_(AuditRow.payload.contains(text, autoescape=True), AuditRow.result == text)
            )
        if since is not None:
            statement = statement.where(AuditRow.at >= since)
        return session.scalars(statement).all()

    def verify(self, session: Session, *, after: int = 0) -> ChainReport:
        """Verify every row after that one, the head, and the newest checkpoint.

        Returns a report that names the first row that is not as it was written.
        """
        report = verify_chain(raw_rows(session, after), after=self._start(session, after))
        if not report.intact:
            return report
        return self._against_head(session, report) or self._against_anchors(session, report)

    def _start(self, session: Session, after: int) -> tuple[int, str]:
        if after == 0:
            return 0, audit.GENESIS
        row_hash = session.scalar(select(AuditRow.row_hash).where(AuditRow.sequence == after))
        return after, row_hash or f"(row {after} is missing)"

    def _against_head(self, session: Session, report: ChainReport) -> ChainReport | None:
        head = session.get(AuditHead, 1, populate_existing=True)
        if head is None:
            return report.broken(report.last_sequence, "the head row is missing")
        if head.sequence > report.last_sequence:
            return report.broken(report.last_sequence + 1, "the row is missing: the log was cut")
        if (head.sequence, head.row_hash) != (report.last_sequence, report.last_hash):
            return report.broken(report.last_sequence, "the head row does not match the last row")
        return None

    def _against_anchors(self, session: Session, report: ChainReport) -> ChainReport:
        stored = session.scalars(select(AuditCheckpoint).order_by(AuditCheckpoint.sequence)).all()
        anchors = [_Anchor.model_validate(one, from_attributes=True) for one in stored]
        in_file = self._anchor_in_file()
        if isinstance(in_file, str):
            return report.broken(report.last_sequence, in_file)
        if in_file is not None:
            anchors.append(in_file)
        for anchor in anchors:
            if reason := self._anchor_fault(session, anchor, report):
                return report.broken(anchor.sequence, reason)
        return report

    def _anchor_fault(self, session: Session, anchor: _Anchor, report: ChainReport) -> str:
        key = self.context.settings.secret_key()
        expected = checkpoints.sign(key, anchor.sequence, anchor.row_hash)
        if not hmac.compare_digest(expected, anchor.signature):
            return "the checkpoint of this row has a wrong signature"
        if anchor.sequence > report.last_sequence:
            return "the row is missing: a signed checkpoint says that it was written"
        found = session.scalar(
            select(AuditRow.row_hash).where(AuditRow.sequence == anchor.sequence)
        )
        return "" if found == anchor.row_hash else "the row is not the one that was signed"

    def checkpoint(self, session: Session) -> AuditCheckpoint | None:
        """Sign the chain as far as it is verified and committed; None where nothing is new.

        Raises LogBrokenError where it does not verify: what is broken is never signed.
        """
        last = checkpoints.newest(session)
        start = last.sequence if last else 0
        with database.reading() as committed:
            report = self.verify(committed, after=start)
        if not report.intact:
            raise LogBrokenError(f"Row {report.row} of the audit log is broken: {report.reason}.")
        if report.last_sequence <= start:
            return None
        made = AuditCheckpoint(
            sequence=report.last_sequence,
            row_hash=report.last_hash,
            signature=checkpoints.sign(
                self.context.settings.secret_key(), report.last_sequence, report.last_hash
            ),
        )
        session.add(made)
        session.flush()
        self._write_anchor(made)
        return made

    @property
    def _anchor_path(self) -> Path:
        return self.context.settings.state_dir / ANCHOR_FILE

    def _anchor_in_file(self) -> _Anchor | str | None:
        try:
            return _Anchor.model_validate_json(self._anchor_path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return f"the checkpoint file {ANCHOR_FILE} cannot be read"

    def _write_anchor(self, made: AuditCheckpoint) -> None:
        path = self._anchor_path
        anchor = _Anchor(sequence=made.sequence, row_hash=made.row_hash, signature=made.signature)
        aside = path.with_suffix(f".{os.getpid()}")
        aside.touch(mode=0o600)
        aside.write_text(anchor.model_dump_json(), encoding="utf-8")
        aside.replace(path)

    def probe(self, session: Session) -> Evidence:
        """Append a row, read it back, verify the tail, and see a forged row found."""
        watch = Stopwatch()
        nonce = new_id()
        row = self.append(
            session, actor=_NAME, action="probe", resource=_NAME, payload={"nonce": nonce}
        )
        newest = next(iter(self.search(session, actor=_NAME, action="probe", limit=1)), None)
        read_back = newest is not None and json.loads(newest.payload).get("nonce") == nonce
        after = max(0, row.sequence - _TAIL)
        report = self.verify(session, after=after)
        forged_found = self._finds_a_forgery(session, row.sequence, after)
        return Evidence(
            claim="a row that was appended is read back, the tail verifies, a forgery is found",
            passed=read_back
            and report.intact
            and report.rows > 0
            and report.last_sequence >= row.sequence
            and forged_found == row.sequence,
            observed={
                "nonce": nonce,
                "row": row.sequence,
                "read_back": read_back,
                "rows_verified": report.rows,
                "broken_row": report.row,
                "reason": report.reason,
                "forged_row_found": forged_found,
            },
            seconds=watch.seconds,
        )

    def _finds_a_forgery(self, session: Session, sequence: int, after: int) -> int | None:
        """Change one row in the table, verify, and change it back; return the row that is named."""
        forge = update(AuditRow).where(AuditRow.sequence == sequence).values(payload="forged")
        undo = session.begin_nested()
        try:
            session.execute(forge.execution_options(synchronize_session=False))
            return self.verify(session, after=after).row
        finally:
            undo.rollback()

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Verify since the last checkpoint and sign a new one."""
        del due_at
        made = self.checkpoint(session)
        signed = made.sequence if made else None
        return CycleResult(work=1, observed={"signed_up_to": signed})


__all__ = ["ChainReport", "ImmutableLog", "LogBrokenError", "RawRow"]

"""Repairs and what was learnt from them: one row per repair, one per fix that is known.

A known fix is found by its replay key and applies only where each file's text is what it was
(`preimages`). A repair of an incident is one row for the incident and replay key, so that two
workers cannot mend the same thing twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime


class Repair(Base):
    """One repair: the failure, the patch with its proof, the decision, and what came of it."""

    __tablename__ = "repairs"
    __table_args__ = (
        Index("ix_repairs_replay_key", "replay_key"),
        Index("ix_repairs_status", "status", "created_at"),
        Index("ix_repairs_seen_key", "seen_key", "created_at"),
        UniqueConstraint("claim", name="uq_repairs_claim"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    #: The incident's opening that this repair is for; nobody else begins one for it.
    claim: Mapped[str | None] = mapped_column(String(128))
    #: Who works on it, and until when that is believed of a process that cannot be asked.
    holder: Mapped[str] = mapped_column(String(128), default="")
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    incident_id: Mapped[str] = mapped_column(String(36), default="", index=True)
    repository: Mapped[str]
    command: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    group_key: Mapped[str] = mapped_column(String(64), default="")
    replay_key: Mapped[str] = mapped_column(String(64), default="")
    outcome: Mapped[dict[str, Any]] = mapped_column(JSON)
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    preimages: Mapped[dict[str, Any]] = mapped_column(JSON)
    commit: Mapped[str] = mapped_column(String(64), default="")
    story: Mapped[list[Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[str] = mapped_column(String(128), default="")
    #: The replay key of the incident, as it was seen in production; `replay_key` is the command's.
    seen_key: Mapped[str] = mapped_column(String(64), default="")
    #: The attempt that the budgets were charged for, and the approval that a person decides.
    attempt_id: Mapped[str] = mapped_column(String(36), default="")
    approval_id: Mapped[str] = mapped_column(String(36), default="")
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    #: What was seen since it was applied, and how the watch ended.
    watch: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class KnownFix(Base):
    """A fix that held its proof: its strategy, parameters, diff, and how it fared since."""

    __tablename__ = "known_fixes"
    __table_args__ = (UniqueConstraint("replay_key", "patch", name="uq_known_fixes_patch"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    replay_key: Mapped[str] = mapped_column(String(64), index=True)
    group_key: Mapped[str] = mapped_column(String(64), index=True)
    patch: Mapped[str] = mapped_column(String(64))
    strategy: Mapped[str] = mapped_column(String(64))
    defect: Mapped[str] = mapped_column(String(64))
    side: Mapped[str] = mapped_column(String(16))
    title: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    preimages: Mapped[dict[str, Any]] = mapped_column(JSON)
    diff: Mapped[str]
    proof: Mapped[dict[str, Any]] = mapped_column(JSON)
    successes: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

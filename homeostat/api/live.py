"""Live events: what the audit log and the incidents' timelines gain, as server-sent events.

They are read from the database, which is the truth, so a broker that is away hides nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool

from homeostat.store import database
from homeostat.store.audit import AuditRow
from homeostat.store.incidents import TimelineEntry

#: Seconds between two looks; a person does not see less.
LOOK_EVERY_S = 1.0
#: A browser that reconnects after less than this misses nothing worth a page of its own.
_MOST_A_LOOK = 100
#: A comment is sent after this many idle looks, so that a dead connection is noticed.
_IDLE_LOOKS = 15


async def stream(request: Request) -> AsyncIterator[str]:
    """Yield events in the wire format until the client has gone."""
    sequence, step = await run_in_threadpool(_newest)
    yield ": listening\n\n"
    idle = 0
    while not await request.is_disconnected():
        rows, steps = await run_in_threadpool(_since, sequence, step)
        for row in rows:
            sequence = row.sequence
            yield _event("audit", _of_row(row))
        for entry in steps:
            step = entry.id
            yield _event("incident", _of_step(entry))
        idle = 0 if rows or steps else idle + 1
        if idle and idle % _IDLE_LOOKS == 0:
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_EVERY_S)


def _newest() -> tuple[int, str]:
    with database.reading() as session:
        sequence = session.scalar(select(func.max(AuditRow.sequence))) or 0
        step = session.scalar(select(func.max(TimelineEntry.id))) or ""
    return int(sequence), str(step)


def _since(sequence: int, step: str) -> tuple[list[AuditRow], list[TimelineEntry]]:
    with database.reading() as session:
        rows = session.scalars(
            select(AuditRow)
            .where(AuditRow.sequence > sequence)
            .order_by(AuditRow.sequence)
            .limit(_MOST_A_LOOK)
        ).all()
        # Ids are UUIDv7, so their order is that of their making.
        steps = session.scalars(
            select(TimelineEntry)
            .where(TimelineEntry.id > step)
            .order_by(TimelineEntry.id)
            .limit(_MOST_A_LOOK)
        ).all()
    return list(rows), list(steps)


def _of_row(row: AuditRow) -> dict[str, Any]:
    return {"at": row.at, "who": row.actor, "what": f"{row.action} {row.resource} {row.result}"}


def _of_step(step: TimelineEntry) -> dict[str, Any]:
    what = f"incident {step.incident_id} {step.event}"
    return {"at": step.at, "who": step.actor, "what": what, "incident": step.incident_id}


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(jsonable_encoder(data))}\n\n"

"""Live events: what the audit log, the timelines and the bus gain, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.encoders import jsonable_encoder

from homeostat.store.audit import AuditRow
from homeostat.store.incidents import TimelineEntry
from homeostat.supervision import live
from homeostat.supervision.ports import Event

#: Seconds between two looks; a person does not see less.
LOOK_EVERY_S = 1.0
#: A comment is sent after this many idle looks, so that a dead connection is noticed.
_IDLE_LOOKS = 15


async def stream(request: Request) -> AsyncIterator[str]:
    """Yield events in the wire format until the client has gone."""
    position, ear = await live.newest(), live.Ear()
    # The first line says from where on, so that a client can tell a stream that stands still.
    yield f": listening from {position.sequence}\n\n"
    idle = 0
    while not await request.is_disconnected():
        news = await live.since(position)
        position = news.position
        for row in news.rows:
            yield _event("audit", _of_row(row))
        for step in news.steps:
            yield _event("incident", _of_step(step))
        told = await ear.hear()
        for event in told:
            yield _event("bus", _of_event(event))
        idle = 0 if news.rows or news.steps or told else idle + 1
        if idle and idle % _IDLE_LOOKS == 0:
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_EVERY_S)


def _of_row(row: AuditRow) -> dict[str, Any]:
    return {"at": row.at, "who": row.actor, "what": f"{row.action} {row.resource} {row.result}"}


def _of_step(step: TimelineEntry) -> dict[str, Any]:
    what = f"incident {step.incident_id} {step.event}"
    return {"at": step.at, "who": step.actor, "what": what, "incident": step.incident_id}


def _of_event(event: Event) -> dict[str, Any]:
    said = ", ".join(f"{name} {value}" for name, value in event.payload.items())
    return {"at": event.at, "who": event.publisher, "what": f"{event.topic}: {said}"}


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(jsonable_encoder(data))}\n\n"

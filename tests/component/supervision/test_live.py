from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.supervision import live

pytestmark = pytest.mark.usefixtures("store")


def test_a_reader_that_goes_away_in_the_middle_of_a_query_breaks_nothing() -> None:
    begun, released, answered = threading.Event(), threading.Event(), threading.Event()
    complaints: list[dict[str, Any]] = []

    def question(session: Session) -> None:
        begun.set()
        assert released.wait(10)
        session.execute(select(1))
        answered.set()

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, told: complaints.append(told)
        )
        reader = asyncio.create_task(live.asked(question))
        assert await asyncio.to_thread(begun.wait, 10)
        reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reader
        released.set()
        assert await asyncio.to_thread(answered.wait, 10)
        # What goes on behind the reader's back comes to its end.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*(one for one in rest if one))

    asyncio.run(scene())
    assert complaints == []

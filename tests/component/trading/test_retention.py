"""The trading journal is forgotten after its time, and what was traded is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store import trading_retention
from homeostat.store.database import transaction
from homeostat.store.trading import DecisionCycle, Directive
from homeostat.trading import flow


@pytest.mark.usefixtures("store")
def test_an_old_cycle_is_forgotten_unless_a_position_came_from_it() -> None:
    now = utcnow()
    with transaction() as session:
        flow.canary(session)
        summary = flow.cycle(session, now - timedelta(minutes=5), settings())
        assert summary
        young = flow.cycle(session, now, settings())
        assert young
        for cycle in session.scalars(select(DecisionCycle)):
            if cycle.id != young.cycle_id:
                cycle.due_at -= timedelta(days=7, minutes=10)
        for directive in session.scalars(select(Directive)):
            directive.expires_at -= timedelta(days=8)
        session.flush()
        counts = trading_retention.forget(session)
        left = set(session.scalars(select(DecisionCycle.book + ":" + DecisionCycle.id)))
        assert counts["decisions"] == 222
        assert counts["decision_cycles"] == 1
        assert f"paper:{young.cycle_id}" in left
        assert any(one.startswith("canary:") for one in left)
        # The newest directive stays, because the next version is counted from it.
        assert counts["directives"] == 0
        assert trading_retention.forget(session)["decisions"] == 0

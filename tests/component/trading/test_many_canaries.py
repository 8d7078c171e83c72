"""The canary goes on proving the flow, however often it has flown before."""

from __future__ import annotations

from typing import Any

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.store.database import transaction
from homeostat.trading import flow
from homeostat.trading.model_supervisor.rules import BIAS_SIGNALS


@pytest.mark.usefixtures("sqlite_store")
def test_no_canary_is_blocked_for_the_side_that_all_before_it_took() -> None:
    supervisor: Any = registry.find("trading.model_supervisor")
    for number in range(BIAS_SIGNALS + 6):
        with transaction() as session:
            firings = flow.canary(session, f"run-{number}")
            supervisor.run(session, utcnow())
        unfired = {one.hook: one.artefact for one in firings if not one.fired}
        assert unfired == {}, number

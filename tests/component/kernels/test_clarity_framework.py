from __future__ import annotations

from datetime import timedelta

import pytest

from homeostat import registry
from homeostat.clock import new_id, utcnow
from homeostat.kernels.clarity_framework import (
    ClarityFramework,
    UnknownDecisionError,
    faded,
    score,
)
from homeostat.store import database
from homeostat.store.checks import CheckRun
from homeostat.store.decisions import DecisionRecord
from homeostat.testing import check_contract


@pytest.fixture
def clarity(store: str) -> ClarityFramework:
    del store
    found = registry.find("kernels.clarity_framework")
    assert isinstance(found, ClarityFramework)
    return found


def test_it_keeps_the_contract(clarity: ClarityFramework) -> None:
    with database.transaction() as session:
        check_contract(clarity, session)


def test_a_decision_is_explained_in_one_paragraph_that_the_audit_log_vouches_for(
    clarity: ClarityFramework,
) -> None:
    with database.transaction() as session:
        record = clarity.record(
            session,
            component="trading.ai_hfos",
            action="trade.block",
            subject="BTC/USDT",
            inputs={"confidence": 0.41, "threshold": 0.55},
            rule="confidence below the directive's threshold",
            alternatives=[{"action": "half size", "because": "the directive forbids new trades"}],
            outcome="blocked",
        )
        told = clarity.explain(session, record.id)
    assert "\n" not in told
    for part in ("trading.ai_hfos", "BTC/USDT", "0.41", "half size", "forbids new", "blocked"):
        assert part in told
    assert told.endswith("says the same.")
    with database.transaction() as session:
        session.get_one(DecisionRecord, record.id).inputs = {"confidence": 0.99}
    with database.reading() as session:
        assert "does not agree with its audit row" in clarity.explain(session, record.id)
        with pytest.raises(UnknownDecisionError):
            clarity.explain(session, "none")


def test_trust_follows_the_check_runs_and_quarantines_below_the_floor(
    clarity: ClarityFramework,
) -> None:
    def ran(component: str, *, passed: bool, times: int) -> None:
        now = utcnow()
        with database.transaction() as session:
            for _ in range(times):
                session.add(
                    CheckRun(
                        id=new_id(), entry=new_id(), component=component, due_at=now,
                        started_at=now, ended_at=now, passed=passed, evidence={},
                    )
                )  # fmt: skip

    def cycle() -> None:
        with database.transaction() as session:
            clarity.run(session, utcnow())

    ran("good", passed=True, times=10)
    ran("bad", passed=False, times=10)
    cycle()
    with database.reading() as session:
        assert clarity.trust(session, "good") > 0.9
        assert clarity.trust(session, "bad") < 0.1
        assert clarity.trust(session, "unheard of") == 0.5
        assert clarity.is_quarantined(session, "bad")
        assert not clarity.is_quarantined(session, "good")
    cycle()  # nothing is counted twice
    with database.reading() as session:
        assert clarity.trust(session, "bad") == pytest.approx(score(0, 10), abs=1e-3)
    ran("bad", passed=True, times=20)
    cycle()
    with database.reading() as session:
        assert not clarity.is_quarantined(session, "bad")


def test_old_evidence_fades_by_half_each_day() -> None:
    assert faded(timedelta(days=2)) == pytest.approx(0.25)
    assert faded(timedelta()) == 1.0

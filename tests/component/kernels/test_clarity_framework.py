from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.cli import run as command
from homeostat.clock import new_id, utcnow
from homeostat.kernels.clarity_framework import (
    ClarityFramework,
    UnknownDecisionError,
    faded,
    score,
)
from homeostat.repair.remedy import Cause
from homeostat.store import database, decisions
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


def test_what_kernels_do_by_themselves_has_a_record_that_explains_it(
    clarity: ClarityFramework,
) -> None:
    healer: Any = registry.find("kernels.self_healing")
    learner: Any = registry.find("kernels.learning_integration")
    cause = Cause("incident-1:1", "trading.x", "ExchangeDownError", utcnow())
    assert healer.remedy(cause).verified
    with database.transaction() as session:
        learner.learn(session, {"playbook:hopeless": (0, 30)})
        told = {
            record.component: clarity.explain(session, record.id)
            for record in decisions.recent(session)
        }
    remedy, trust = told["kernels.self_healing"], told["kernels.learning_integration"]
    assert "did remedy.pause-trading on trading.x" in remedy
    assert "What came of it: verified. Audit row" in remedy
    assert "did trust.withdrawn on playbook:hopeless" in trust
    assert "keep using it was possible, but its outcomes say otherwise" in trust


def test_a_person_reads_why_by_command(
    clarity: ClarityFramework, capsys: pytest.CaptureFixture[str]
) -> None:
    del clarity
    healer: Any = registry.find("kernels.self_healing")
    healer.remedy(Cause("incident-1:1", "trading.x", "ExchangeDownError", utcnow()))
    assert command(["log", "decisions", "-o", "json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)
    assert (made["action"], made["outcome"]) == ("remedy.pause-trading", "verified")
    assert command(["log", "explain", made["id"]]) == 0
    assert "because of the rule" in capsys.readouterr().out
    assert command(["log", "explain", "none"]) == 64


def test_governance_asks_a_person_while_the_actor_is_quarantined(
    clarity: ClarityFramework,
) -> None:
    governance: Any = registry.find("kernels.governance")

    def decided(session: Session) -> tuple[bool, bool]:
        decision = governance.decide(
            session, action="remedy.reconnect", risk="low", actor="kernels.self_healing"
        )
        return decision.allowed, decision.needs_approval

    with database.transaction() as session:
        assert decided(session) == (True, False)
        clarity.note(session, "kernels.self_healing", successes=0, failures=9, now=utcnow())
        assert decided(session) == (False, True)
        clarity.note(session, "kernels.self_healing", successes=30, failures=0, now=utcnow())
        assert decided(session) == (True, False)


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

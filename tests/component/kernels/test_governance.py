from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import StoreUnavailableError
from homeostat.kernels.governance import FREEZE, Governance, PolicyError
from homeostat.kernels.governance.policy import Policy, Risk, Rule, Verdict, load, ruled
from homeostat.settings import Mode, settings
from homeostat.store import approvals, controls, database, track_records
from homeostat.store.approvals import Approval, ApprovalError
from homeostat.testing import check_contract

ACTIONS = ["remedy.restart_component", "fix.apply", "log.delete", "tune.interval", "never.heard"]
ACTORS = ["kernels.self_healing", "kernels.coding_agent", "kernels.meta_loop", "operator", ""]


@pytest.fixture
def governance() -> Governance:
    found = registry.find("kernels.governance")
    assert isinstance(found, Governance)
    return found


patterns = st.sampled_from(["*", "remedy.*", "fix.apply", "log.*", "kernels.*", "operator", "t*"])
rules = st.builds(
    Rule,
    name=st.just("r"),
    actions=st.lists(patterns, min_size=1, max_size=3).map(tuple),
    actors=st.lists(patterns, min_size=1, max_size=3).map(tuple),
    max_risk=st.sampled_from(Risk),
    verdict=st.sampled_from(Verdict),
    proven=st.none() | st.integers(1, 5),
)


@given(
    policy=st.builds(Policy, rules=st.lists(rules, min_size=1, max_size=6).map(tuple)),
    action=st.sampled_from(ACTIONS),
    actor=st.sampled_from(ACTORS),
    risk=st.sampled_from(Risk),
    mode=st.sampled_from(Mode),
    successes=st.integers(0, 6),
)
def test_no_path_allows_what_policy_refuses(
    policy: Policy, action: str, actor: str, risk: Risk, mode: Mode, successes: int
) -> None:
    verdict, _, _ = ruled(
        policy, action=action, risk=risk, actor=actor, mode=mode, successes=successes
    )
    speaking = [
        rule
        for rule in policy.rules
        if any(fnmatchcase(action, a) for a in rule.actions)
        and any(fnmatchcase(actor, a) for a in rule.actors)
    ]
    if not speaking or speaking[0].verdict is Verdict.REFUSE:
        assert verdict is Verdict.REFUSE
    if mode in {Mode.OFF, Mode.OBSERVE}:
        assert verdict is Verdict.REFUSE
    if mode is Mode.ADVISORY:
        assert verdict is not Verdict.ALLOW
    if verdict is Verdict.ALLOW:
        first = speaking[0]
        assert list(Risk).index(risk) <= list(Risk).index(first.max_risk)
        if first.verdict is Verdict.APPROVE:
            assert first.proven is not None
            assert successes >= first.proven


@pytest.mark.parametrize(
    ("mode", "allowed", "needs_approval"),
    [("OFF", 0, 0), ("OBSERVE", 0, 0), ("ADVISORY", 0, 1), ("ENFORCED", 1, 0)],
)
def test_a_playbook_acts_by_itself_in_enforced_mode_only(
    sqlite_store: str, monkeypatch: pytest.MonkeyPatch, mode: str, allowed: int, needs_approval: int
) -> None:
    del sqlite_store
    monkeypatch.setenv("HOMEOSTAT_MODE", mode)
    settings.cache_clear()
    registry.find.cache_clear()
    with database.transaction() as session:
        decision = registry.find("kernels.governance").decide(  # type: ignore[attr-defined]  # the kernel's own verb
            session, action="remedy.reconnect", risk="low", actor="kernels.self_healing"
        )
    assert (decision.allowed, decision.needs_approval) == (bool(allowed), bool(needs_approval))


def test_a_fix_applies_itself_after_three_proven_successes_until_it_fails(
    governance: Governance, store: str
) -> None:
    del store

    def may_apply() -> bool:
        with database.transaction() as session:
            return governance.decide(
                session,
                action="fix.apply",
                risk="medium",
                actor="kernels.coding_agent",
                signature="s1",
            ).allowed

    def proven(*, succeeded: bool) -> None:
        with database.transaction() as session:
            track_records.note(session, "fix.apply", "s1", succeeded=succeeded)

    for _ in range(3):
        assert not may_apply()
        proven(succeeded=True)
    assert may_apply()
    proven(succeeded=False)
    assert not may_apply()


def test_an_approval_is_spent_once_on_what_was_approved_and_survives_a_restart(
    governance: Governance, store: str
) -> None:
    del store
    what = {"action": "fix.apply", "subject": "incident-1"}
    with database.transaction() as session:
        approval = governance.request(
            session, **what, risk="high", actor="kernels.coding_agent", plan="--- a\n+++ b"
        )
    program = (
        "import sys\nfrom homeostat import registry\nfrom homeostat.store import database\n"
        "with database.transaction() as session:\n"
        "    registry.find('kernels.governance').approve(session, sys.argv[1], by='anna')\n"
    )
    subprocess.run([sys.executable, "-c", program, approval.id], check=True, timeout=60)

    def use(subject: str = "incident-1") -> bool:
        with database.transaction() as session:
            return governance.use(
                session,
                approval.id,
                action="fix.apply",
                subject=subject,
                actor="kernels.coding_agent",
            ).allowed

    assert [use("incident-2"), use(), use()] == [False, True, False]
    with pytest.raises(ApprovalError, match="is used already"), database.transaction() as session:
        governance.reject(session, approval.id, by="bob")


def test_an_approval_runs_out(governance: Governance, store: str) -> None:
    del store
    with database.transaction() as session:
        approval = governance.request(
            session, action="fix.apply", subject="i", risk="low", actor="kernels.coding_agent",
            plan="p",
        )  # fmt: skip
    with database.transaction() as session:
        session.get_one(Approval, approval.id).expires_at = utcnow() - timedelta(seconds=1)
    with pytest.raises(ApprovalError, match="ran out"), database.transaction() as session:
        governance.approve(session, approval.id, by="anna")
    with database.transaction() as session:
        assert governance.run(session, utcnow()).observed["expired"] == 1
        assert approvals.waiting(session) == []


def test_no_approval_can_be_asked_for_what_policy_refuses(
    governance: Governance, sqlite_store: str
) -> None:
    del sqlite_store
    with pytest.raises(ApprovalError), database.transaction() as session:
        governance.request(
            session, action="log.delete", subject="s", risk="low", actor="operator", plan="p"
        )


def test_it_fails_closed_when_its_store_is_away(governance: Governance) -> None:
    # No migration ran here: there is a database file, but none of the tables.
    settings().ensure_state_dir()
    with database.transaction() as session:
        decision = governance.decide(
            session, action="remedy.reconnect", risk="low", actor="kernels.self_healing"
        )
    assert not decision.allowed
    assert "refused" in decision.reason


def test_it_fails_closed_when_the_database_does_not_answer(
    governance: Governance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_DATABASE_URL", "postgresql://postgres@127.0.0.1:1/none")
    settings.cache_clear()
    with pytest.raises(StoreUnavailableError), database.transaction() as session:  # noqa: PT012  # the decision first
        decision = governance.decide(
            session, action="remedy.reconnect", risk="low", actor="kernels.self_healing"
        )
        assert not decision.allowed
        session.connection()


def test_a_freeze_and_a_spent_budget_hold_back_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_store: str
) -> None:
    del sqlite_store
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[[rules]]\nname = "r"\nactions = ["a"]\nverdict = "allow"\nmost_per_hour = 3\n'
    )
    monkeypatch.setenv("HOMEOSTAT_POLICY_FILE", str(policy))
    settings.cache_clear()
    registry.find.cache_clear()
    kernel = registry.find("kernels.governance")

    def decide() -> bool:
        with database.transaction() as session:
            return bool(
                kernel.decide(session, action="a", risk="low", actor="x").allowed  # type: ignore[attr-defined]  # the kernel's own verb
            )

    with database.transaction() as session:
        controls.set_on(session, FREEZE, actor="anna", reason="release")
    assert not decide()
    with database.transaction() as session:
        controls.lift(session, FREEZE)
    assert [decide() for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[rules]]\nname="r"\nactions=["a"]\nverdict="alow"', "rules.0.verdict"),
        ('[[rules]]\nname="r"\nactions=["a"]\nverdict="allow"\nproved=1', "rules.0.proved"),
        ("rules = ]", "no TOML"),
    ],
)
def test_a_policy_with_an_unknown_key_or_value_is_refused_and_everything_with_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sqlite_store: str,
    text: str,
    complaint: str,
) -> None:
    del sqlite_store
    policy = tmp_path / "policy.toml"
    policy.write_text(text)
    with pytest.raises(PolicyError, match=complaint):
        load(policy)
    monkeypatch.setenv("HOMEOSTAT_POLICY_FILE", str(policy))
    settings.cache_clear()
    registry.find.cache_clear()
    with database.transaction() as session:
        decision = registry.find("kernels.governance").decide(  # type: ignore[attr-defined]  # the kernel's own verb
            session, action="remedy.reconnect", risk="low", actor="kernels.self_healing"
        )
    assert not decision.allowed


@pytest.mark.parametrize("name", ["kernels.governance", "kernels.secret_manager"])
def test_it_keeps_the_contract(store: str, name: str) -> None:
    del store
    with database.transaction() as session:
        check_contract(registry.find(name), session)

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue
from sqlalchemy import select, text, update

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.errors import ActionRefusedError
from homeostat.kernels.agentic_spine.drill import drilled
from homeostat.kernels.health_monitor.drill import run_of
from homeostat.kernels.verification_framework import (
    ABANDONED_AFTER,
    InvariantBrokenError,
    VerificationFramework,
    _position,
)
from homeostat.settings import settings
from homeostat.store import audit, beat, controls, database
from homeostat.store.beat import BeatEntry
from homeostat.store.contracts import ActionContract, ContractState
from homeostat.store.jobs import Job
from homeostat.store.repair import KnownFix
from homeostat.store.trading import Order, Position, client_order_id
from homeostat.supervision import cadence
from homeostat.supervision import contracts as acting
from homeostat.supervision.contracts import Effect, Outcome, Terms
from homeostat.supervision.events import PUBLISH
from homeostat.testing import check_contract

POLICY = """
[[rules]]
name = "this test's acts"
actions = ["config.change", "remedy.pause_trading", "model.promote"]
verdict = "allow"
"""


@pytest.fixture
def framework(
    sqlite_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> VerificationFramework:
    del sqlite_store
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.setenv("HOMEOSTAT_POLICY_FILE", str(tmp_path / "policy.toml"))
    settings.cache_clear()
    registry.find.cache_clear()
    found = registry.find("kernels.verification_framework")
    assert isinstance(found, VerificationFramework)
    return found


class JsonFile:
    """A configuration or a model registry: one key of a JSON file is changed."""

    def __init__(self, file: Path, key: str, value: str, *, works: bool) -> None:
        self.file, self.key, self.value, self.works = file, key, value, works

    def read(self) -> dict[str, JsonValue]:
        return dict(json.loads(self.file.read_text()))

    def act(self) -> None:
        content = self.read()
        content[self.key] = self.value if self.works else "garbage"
        self.file.write_text(json.dumps(content))

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        self.file.write_text(json.dumps(dict(before)))


class PauseTrading:
    """A playbook's step: it sets the switch that every process reads."""

    def __init__(self, *, works: bool) -> None:
        self.works = works

    def read(self) -> dict[str, JsonValue]:
        with database.reading() as session:
            return {"paused": controls.is_on(session, controls.TRADING_PAUSED)}

    def act(self) -> None:
        if not self.works:
            raise ConnectionError("the exchange hung up")
        with database.transaction() as session:
            controls.set_on(session, controls.TRADING_PAUSED, actor="t", reason="t")

    def undo(self, before: Mapping[str, JsonValue]) -> None:
        if not before["paused"]:
            with database.transaction() as session:
                controls.lift(session, controls.TRADING_PAUSED)


def told() -> list[tuple[str, str]]:
    """Return how contracts ended, as the audit log and the outbox of the bus say it."""
    with database.reading() as session:
        rows = [row.action for row in audit.rows_after(session, 0)]
        jobs = session.scalars(select(Job).where(Job.task == PUBLISH).order_by(Job.id))
        payloads = [job.kwargs["payload"] for job in jobs if job.kwargs["topic"] == acting.TOPIC]
    logged = [row.removeprefix("contract.") for row in rows if row.startswith("contract.")]
    return list(zip(logged, [str(one["state"]) for one in payloads], strict=True))


def carried_out(
    framework: VerificationFramework, kind: str, subject: str, effect: Effect, **expected: JsonValue
) -> Outcome:
    with database.transaction() as session:
        terms = Terms(kind, subject, "x", expected)
        return framework.under_contract(session, terms, effect, risk="low")


def contracts() -> list[tuple[str, str]]:
    with database.reading() as session:
        rows = session.scalars(select(ActionContract).order_by(ActionContract.id))
        return [(row.kind, row.state) for row in rows]


@pytest.mark.parametrize("works", [True, False])
def test_a_configuration_change_holds_or_is_rolled_back(
    framework: VerificationFramework, tmp_path: Path, *, works: bool
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"interval": "10", "other": "kept"}')
    effect = JsonFile(file, "interval", "5", works=works)
    outcome = carried_out(framework, "config.change", "interval", effect, interval="5")
    expected = ContractState.HELD if works else ContractState.ROLLED_BACK
    assert outcome.state is expected
    assert json.loads(file.read_text()) == {"interval": "5" if works else "10", "other": "kept"}
    assert contracts() == [("config.change", expected)]
    assert told() == [(expected, expected)], "in the log and on the bus"


@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize("works", [True, False])
def test_a_playbook_step_holds_or_is_rolled_back(*, works: bool) -> None:
    effect = PauseTrading(works=works)
    terms = Terms("remedy.pause_trading", "trading", "x", {"paused": True})
    outcome = acting.act(terms, effect)
    assert outcome.state is (ContractState.HELD if works else ContractState.ROLLED_BACK)
    assert effect.read() == {"paused": works}
    assert works or "hung up" in outcome.reason


@pytest.mark.parametrize("works", [True, False])
def test_a_model_promotion_holds_or_is_rolled_back(
    framework: VerificationFramework, tmp_path: Path, *, works: bool
) -> None:
    file = tmp_path / "models.json"
    file.write_text('{"champion": "model-1", "challenger": "model-2"}')
    effect = JsonFile(file, "champion", "model-2", works=works)
    outcome = carried_out(framework, "model.promote", "model-2", effect, champion="model-2")
    assert outcome.state is (ContractState.HELD if works else ContractState.ROLLED_BACK)
    assert effect.read()["champion"] == ("model-2" if works else "model-1")


def test_an_undo_that_does_not_undo_is_broken_and_not_rolled_back(
    framework: VerificationFramework, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"interval": "10"}')

    class NoWayBack(JsonFile):
        def undo(self, before: Mapping[str, JsonValue]) -> None:
            del before

    effect = NoWayBack(file, "interval", "5", works=False)
    outcome = carried_out(framework, "config.change", "interval", effect, interval="5")
    assert outcome.state is ContractState.BROKEN


def test_what_governance_refuses_is_not_done(
    framework: VerificationFramework, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"a": "1"}')
    with pytest.raises(ActionRefusedError):
        carried_out(framework, "log.delete", "log", JsonFile(file, "a", "2", works=True), a="2")
    assert file.read_text() == '{"a": "1"}'
    assert contracts() == []


def test_a_contract_whose_process_died_is_ended_and_told(framework: VerificationFramework) -> None:
    with database.transaction() as session:
        lost = acting.declare(session, Terms("config.change", "x", "y", {"a": 1}), {"a": 0})
        row = session.get_one(ActionContract, lost)
        row.started_at -= ABANDONED_AFTER
        assert framework.run(session, utcnow()).observed["abandoned_contracts"] == 1
    assert contracts() == [("config.change", ContractState.BROKEN)]
    assert told() == [(ContractState.BROKEN, ContractState.BROKEN)]


def break_direction() -> None:
    with database.transaction() as session:
        session.add_all([_position("BTC", 1), _position("BTC", -1)])


def break_position() -> None:
    with database.transaction() as session:
        hollow = _position("ETH", 1)
        hollow.quantity = 0.0
        session.add(hollow)


def _filled(position: Position, kind: str, side: int, quantity: float) -> Order:
    return Order(
        client_id=client_order_id(position.decision_id, kind), decision_id=position.decision_id,
        book=position.book, symbol=position.symbol, kind=kind, side=side, quantity=quantity,
        reduce_only=side != position.side, state="FILLED", price=1.0,
    )  # fmt: skip


def held_by_its_orders() -> None:
    """Open with 2, add 1, take 2 off: 1 is held."""
    position = _position("SOL", -1)
    with database.transaction() as session:
        session.add_all([
            position, _filled(position, "ENTRY", -1, 2.0), _filled(position, "ADD1", -1, 1.0),
            _filled(position, "PARTIAL", 1, 2.0),
        ])  # fmt: skip


def break_exposure() -> None:
    held_by_its_orders()
    with database.transaction() as session:
        session.execute(update(Position).values(quantity=1.5))


def test_positions_that_their_orders_add_up_to_hold(framework: VerificationFramework) -> None:
    held_by_its_orders()
    with database.reading() as session:
        assert framework.broken(session) == {}


def break_chain() -> None:
    with database.transaction() as session:
        for _ in range(3):
            audit.append(session, actor="a", action="b", resource="c")
        session.execute(text("UPDATE audit_log SET actor = 'z' WHERE sequence = 2"))


def break_proof() -> None:
    with database.transaction() as session:
        session.add(
            KnownFix(
                replay_key="r", group_key="g", patch="p", strategy="s", defect="d", side="api",
                title="t", parameters={}, changes={}, preimages={}, diff="d", proof={},
            )
        )  # fmt: skip


def break_signature() -> None:
    with database.transaction() as session:
        drilled(session, "OddError", in_code=False).group_key = ""


def break_beats() -> None:
    """One entry falls silent while another ticks on."""
    now = utcnow()
    with database.transaction() as session:
        for name in ("loud", "silent"):
            session.add(
                BeatEntry(
                    name=name, task=f"checks.{name}", interval_s=10.0, declared_s=10.0,
                    kwargs={}, source=beat.ADDED, since=cadence.EPOCH,
                )
            )  # fmt: skip
        for due in cadence.due_between("loud", 10.0, now - timedelta(minutes=2), now):
            session.add(run_of("loud", due))


@pytest.mark.parametrize(
    ("breaks", "named"),
    [
        (break_direction, "holds BTC long and short"),
        (break_position, "position .* in ETH"),
        (break_exposure, r"holds -1.5 of SOL, and its filled orders add up to -1"),
        (break_chain, "row 2 of the audit log"),
        (break_proof, "has no proof"),
        (break_signature, "has no signature"),
        (break_beats, "silent did not run at its last 3 ticks"),
    ],
)
def test_a_broken_invariant_fails_the_cycle_by_name(
    framework: VerificationFramework, breaks: object, named: str
) -> None:
    with database.transaction() as session:
        assert framework.run(session, utcnow()).work >= 6
    breaks()  # type: ignore[operator]  # one of the functions above
    with database.transaction() as session, pytest.raises(InvariantBrokenError, match=named):
        framework.run(session, utcnow())


def test_it_keeps_the_contract(store: str) -> None:
    del store
    with database.transaction() as session:
        check_contract(registry.find("kernels.verification_framework"), session)

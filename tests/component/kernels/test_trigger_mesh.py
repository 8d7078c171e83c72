from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.recognition import report
from homeostat.kernels import infrastructure_manager
from homeostat.kernels.trigger_mesh import Rule, RuleError, TriggerMesh, observers
from homeostat.kernels.trigger_mesh.rules import load
from homeostat.repair.remedy import Cause, cause_of
from homeostat.settings import settings
from homeostat.store import checks, controls, database, figures, redis
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.firings import Firing
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.supervision.events import PUBLISH
from homeostat.testing import check_contract
from tasks.upkeep import publish as publish_event

Patch = pytest.MonkeyPatch


@pytest.fixture
def mesh(redis_server: EmbeddedServer, sqlite_store: str) -> TriggerMesh:
    del redis_server, sqlite_store
    return found()


def found() -> TriggerMesh:
    kernel = registry.find("kernels.trigger_mesh")
    assert isinstance(kernel, TriggerMesh)
    return kernel


def cycle(name: str = "kernels.trigger_mesh") -> dict[str, Any]:
    with database.transaction() as session:
        return dict(registry.find(name).run(session, utcnow()).observed)


def lease(component: str, observed: dict[str, int], *, ends_in_s: float) -> None:
    with database.transaction() as session:
        row = checks.lease_of(session, component)
        row.expires_at = utcnow() + timedelta(seconds=ends_in_s)
        row.probe_passed = True
        row.evidence = {"observed": observed}


def heartbeat_gap(_patch: Patch, _folder: Path) -> None:
    lease("kernels.scheduler", {"a": 1}, ends_in_s=60)
    lease("kernels.message_bus", {"a": 1}, ends_in_s=60)
    cycle("kernels.health_monitor")
    lease("kernels.scheduler", {"a": 1}, ends_in_s=-1)
    cycle("kernels.health_monitor")


def queue_spike(_patch: Patch, _folder: Path) -> None:
    redis.client().lpush("checks", *(["message"] * 2_001))
    cycle("kernels.infrastructure_manager")


def config_drift(patch: Patch, _folder: Path) -> None:
    patch.setenv("HOMEOSTAT_LOG_LEVEL", "DEBUG")
    settings.cache_clear()
    registry.find.cache_clear()


def dependency_regression(patch: Patch, folder: Path) -> None:
    info = folder / "planted-1.0.dist-info"
    info.mkdir()
    patch.setattr(sys, "path", [*sys.path, str(folder)])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 2.0\n")
    assert cycle()["fired"] == []  # a new package is no regression
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")


def model_integrity(_patch: Patch, _folder: Path) -> None:
    with database.transaction() as session:
        artifact = ModelArtifact(
            name="m", sha256="0" * 64, content=b"other bytes", metrics={}, state="live", samples=1
        )
        session.add(artifact)
        session.flush()
        session.add(ModelAlias(name="m", artifact_id=artifact.id))


def resource_pressure(patch: Patch, _folder: Path) -> None:
    # The disk is really measured; only what counts as too full is moved below it.
    patch.setattr(infrastructure_manager, "LIMITS", {"used_ratio": 0.0})
    cycle("kernels.infrastructure_manager")
    cycle("kernels.infrastructure_manager")


def code_diff(patch: Patch, folder: Path) -> None:
    source = folder / "homeostat" / "part.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    patch.setattr(observers, "_ROOT", folder)
    cycle()
    source.write_text("x = (\n")


def error_feed(_patch: Patch, _folder: Path) -> None:
    for number in range(5):
        with database.transaction() as session:
            failure = Failure.without_frames(
                type="SomethingWrong", message=f"no {number}", source=Source.TASK, component="t"
            )
            report(session, failure)


def telemetry_drift(_patch: Patch, _folder: Path) -> None:
    lease("trading.ai_hfos", {"cycles": 1, "confidence": 2}, ends_in_s=60)
    cycle()
    lease("trading.ai_hfos", {"cycles": 1}, ends_in_s=60)


def predictive(_patch: Patch, _folder: Path) -> None:
    now = utcnow()
    with database.transaction() as session:
        for minute in range(20):
            at = now - timedelta(minutes=21 - minute)
            figures.record(session, at, {("disk", "used_ratio"): 0.3 + 0.01 * minute})
    with database.transaction() as session:
        kernel: Any = registry.find("kernels.infrastructure_manager")
        for notice in kernel.warnings(session, {}, now):
            kernel._tell(notice)


def _tell_what_was_written() -> None:
    """Do what a worker does with the outbox: put its events on the bus."""
    with database.reading() as session:
        waiting = session.scalars(select(Job).where(Job.task == PUBLISH, Job.state == "pending"))
        asked = [(job.id, dict(job.kwargs)) for job in waiting]
    for job_id, kwargs in asked:
        publish_event(**kwargs, job_id=job_id)


def remedies_that_do_not_last(_patch: Patch, _folder: Path) -> None:
    healer: Any = registry.find("kernels.self_healing")
    for number in range(3):
        cause = Cause(f"i-{number}:1", "kernels.no_such", "ProbeFailedError", utcnow())
        assert not healer.remedy(cause).verified
    _tell_what_was_written()


def trust_withdrawn(_patch: Patch, _folder: Path) -> None:
    learner: Any = registry.find("kernels.learning_integration")
    with database.transaction() as session:
        learner.learn(session, {"playbook:hopeless": (0, 30)})
    _tell_what_was_written()


def quarantined(_patch: Patch, _folder: Path) -> None:
    clarity: Any = registry.find("kernels.clarity_framework")
    with database.transaction() as session:
        clarity.note(session, "kernels.meta_loop", successes=0, failures=9, now=utcnow())
    _tell_what_was_written()


def leak(_patch: Patch, _folder: Path) -> None:
    now = utcnow()
    with database.transaction() as session:
        for minute in range(13):
            size = 2e8 + 2e6 * minute
            at = now - timedelta(minutes=12 - minute)
            figures.record(session, at, {("process:worker.child:7", "rss_bytes"): size})
    with database.transaction() as session:
        kernel: Any = registry.find("kernels.infrastructure_manager")
        for notice in kernel.warnings(session, {}, now):
            kernel._tell(notice)


def missed_beat(_patch: Patch, _folder: Path) -> None:
    monitor: Any = registry.find("kernels.health_monitor")
    for _ in range(2):
        monitor._tell_gaps({"kernels.governance": 1}, utcnow())


TRIGGERS: dict[str, tuple[Callable[[Patch, Path], None], str]] = {
    "heartbeat gap": (heartbeat_gap, "HeartbeatGap"),
    "queue spike": (queue_spike, "QueueSpike"),
    "config drift": (config_drift, "ConfigDrift"),
    "dependency regression": (dependency_regression, "DependencyRegression"),
    "model integrity": (model_integrity, "ModelIntegrityError"),
    "resource pressure": (resource_pressure, "ResourcePressure"),
    "code diff": (code_diff, "CodeChanged"),
    "live error feed": (error_feed, "ErrorStorm"),
    "telemetry drift": (telemetry_drift, "TelemetryDrift"),
    "remedies that do not last": (remedies_that_do_not_last, "RemedyDoesNotLast"),
    "a remedy that is not trusted any more": (trust_withdrawn, "TrustWithdrawn"),
    "a component that may not act by itself": (quarantined, "Quarantined"),
    "predictive: leak": (leak, "MemoryLeak"),
    "missed beat": (missed_beat, "MissedBeat"),
    "predictive: what will run out": (predictive, "ResourceForecast"),
}


#: Incident → the playbook that is made for it; the others go to the coding agent or to a person.
HEALED_BY = {
    "HeartbeatGap": "restart-process",
    "QueueSpike": "grow-pool",
    "ConfigDrift": "reload-configuration",
    "ModelIntegrityError": "disable-model",
    "ResourcePressure": "safe-profile",
    "MemoryLeak": "restart-what-leaks",
    "MissedBeat": "see-the-beat-keep-up",
    "ResourceForecast": "free-space",
}


def test_a_quiet_system_fires_nothing(mesh: TriggerMesh) -> None:
    del mesh
    for _ in range(2):
        assert cycle()["fired"] == []


def test_every_rule_that_ships_has_its_producer_here() -> None:
    assert {rule.name for rule in load()} == set(TRIGGERS)


def seen(rule: str, patch: Patch, folder: Path) -> str:
    """Have the rule's real producer speak between two cycles; return the incident's type."""
    cycle()  # the baseline
    produce, kind = TRIGGERS[rule]
    planted = folder / "planted"
    planted.mkdir()
    produce(patch, planted)
    cycle()
    return kind


@pytest.mark.parametrize("rule", TRIGGERS)
def test_each_trigger_fires_from_its_real_producer_and_is_routed(
    mesh: TriggerMesh, rule: str, monkeypatch: Patch, tmp_path: Path
) -> None:
    del mesh
    kind = seen(rule, monkeypatch, tmp_path)
    with database.reading() as session:
        firings = session.scalars(select(Firing).where(Firing.rule == rule)).all()
        assert len([one for one in firings if one.job_id]) == 1
        incident = session.scalars(select(Incident).where(Incident.type == kind)).one()
        assert incident.source == "trigger"
        tasks = session.scalars(select(Job.task)).all()
        assert "fix_analysis.analyse" in tasks
        if kind in HEALED_BY:
            healer: Any = registry.find("kernels.self_healing")
            assert healer.prospect(session, cause_of(incident)) == HEALED_BY[kind]
    assert cycle()["fired"] == []  # once is enough


def is_on(switch: str) -> bool:
    with database.reading() as session:
        return controls.is_on(session, switch)


def settings_are_read_anew() -> bool:
    kernel: Any = registry.find("kernels.scheduler")
    return bool(kernel.context.settings.log_level == "WARNING")


#: Rule → what is measured again once its playbook was carried out, by another way than its own.
#: What a playbook does to processes is seen on running stacks, by the scenarios of the chaos.
MENDED: dict[str, Callable[[], bool]] = {
    "config drift": settings_are_read_anew,
    "model integrity": lambda: is_on(controls.MODEL_DISABLED + "m"),
    "resource pressure": lambda: is_on(controls.SAFE_PROFILE),
}


@pytest.mark.parametrize("rule", MENDED)
def test_the_playbook_of_a_trigger_mends_what_the_trigger_saw(
    mesh: TriggerMesh, rule: str, monkeypatch: Patch, tmp_path: Path
) -> None:
    del mesh
    kind = seen(rule, monkeypatch, tmp_path)
    with database.reading() as session:
        cause = cause_of(session.scalars(select(Incident).where(Incident.type == kind)).one())
    # The configuration changes once more, and nobody has read it since the trigger looked.
    monkeypatch.setenv("HOMEOSTAT_LOG_LEVEL", "WARNING")
    assert not MENDED[rule]()
    healer: Any = registry.find("kernels.self_healing")
    outcome = healer.remedy(cause)
    assert outcome.verified, outcome.escalate_reason
    assert MENDED[rule]()
    assert cycle()["fired"] == []


def publish(mesh: TriggerMesh, number: int) -> None:
    bus: Any = mesh.need("kernels.message_bus")
    bus.publish(
        "observation.made",
        {"kind": "config_drift", "subject": f"s{number}"},
        publisher="kernels.trigger_mesh",
    )


def test_an_event_whose_cycle_was_rolled_back_fires_in_the_next_one_and_only_once(
    mesh: TriggerMesh,
) -> None:
    cycle()
    publish(mesh, 1)
    with pytest.raises(RuntimeError), database.transaction() as session:  # noqa: PT012  # work, then fail
        assert mesh.run(session, utcnow()).observed["fired"]
        raise RuntimeError
    assert cycle()["fired"] == ["config drift: s1"]
    assert cycle()["fired"] == []
    with database.reading() as session:
        assert len(session.scalars(select(Firing)).all()) == 1


def test_a_loop_is_cut(mesh: TriggerMesh) -> None:
    rule = Rule(
        name="loop", event="observation.made", where={"kind": "config_drift"},
        task="upkeep.sweep", cooldown_s=0, most_per_hour=5,
    )  # fmt: skip
    payload = {"kind": "config_drift", "subject": "s"}
    with database.transaction() as session:
        made = [
            mesh.handle(session, [rule], "observation.made", f"e{number}", payload)[0]
            for number in range(20)
        ]
    assert sum(bool(one.job_id) for one in made) == 5
    assert made[-1].held_back.startswith("loop cut")


def test_a_task_of_a_rule_goes_to_the_queue_of_its_name(mesh: TriggerMesh) -> None:
    rule = Rule(name="load", event="observation.made", task="stress.effect")
    with database.transaction() as session:
        (firing,) = mesh.handle(session, [rule], "observation.made", "e", {"subject": "s"})
        assert session.get_one(Job, firing.job_id).queue == "chaos"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[rules]]\nname="r"\nevent="nobody.says"\ntask="upkeep.sweep"', "Nothing produces"),
        ('[[rules]]\nname="r"\nevent="bus.load"\ntask="upkeep.sweep"', "Nothing produces"),
        (
            '[[rules]]\nname="r"\nevent="observation.made"\nwhere={kind="x"}\ntask="t.t"',
            "Nothing observes",
        ),
        ('[[rules]]\nname="r"\nevent="beat.missed"', "either an incident or a task"),
        ('[[rules]]\nname="r"\nevent="beat.missed"\ntask="t"\ncooldwn=1', "cooldwn"),
    ],
)
def test_a_rule_that_nobody_feeds_or_is_malformed_is_refused_at_load(
    mesh: TriggerMesh, text: str, complaint: str
) -> None:
    (settings().ensure_state_dir() / "trigger_rules.toml").write_text(text)
    with pytest.raises(RuleError, match=complaint):
        mesh.rules()


@pytest.mark.parametrize("name", ["kernels.trigger_mesh", "kernels.infrastructure_manager"])
def test_it_keeps_the_contract(redis_server: EmbeddedServer, store: str, name: str) -> None:
    del redis_server, store
    with database.transaction() as session:
        check_contract(registry.find(name), session)

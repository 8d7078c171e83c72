from __future__ import annotations

import json

import pytest

from homeostat.store import beat
from homeostat.store.beat import BeatEntry
from homeostat.store.database import transaction
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.supervision import snapshots
from homeostat.supervision.snapshots import Kind, Snapshot, SnapshotError
from tests.conftest import forget_settings

pytestmark = pytest.mark.usefixtures("sqlite_store")


def planted_entry(interval_s: float = 10.0) -> None:
    with transaction() as session:
        entry = BeatEntry(name="checks.x", task="checks.x", interval_s=interval_s, declared_s=10.0)
        entry.source = beat.SHIPPED
        session.add(entry)
        session.add(
            ModelArtifact(id="a1", name="ewma", sha256="0" * 64, content=b"x", state="LIVE")
        )
        session.flush()
        session.add(ModelAlias(name="ewma", artifact_id="a1"))


@pytest.mark.usefixtures("store")
def test_one_of_each_kind_is_taken_and_comes_back_as_it_was() -> None:
    planted_entry()
    with transaction() as session:
        taken = snapshots.take_all(session)
    assert set(taken) == set(Kind)
    for kind, snapshot in taken.items():
        assert isinstance(snapshot, Snapshot), f"{kind}: {snapshot}"
        assert snapshot.content
        assert snapshots.load(snapshot.path) == snapshot


def test_what_does_not_come_back_as_it_was_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = dict(snapshots._RESTORE)
    restore[Kind.SCHEDULE] = lambda _content, _scratch: {"checks.x": "something else"}
    monkeypatch.setattr(snapshots, "_RESTORE", restore)
    planted_entry()
    with transaction() as session:
        with pytest.raises(SnapshotError, match="did not come back"):
            snapshots.take(session, Kind.SCHEDULE)
        taken = snapshots.take_all(session)
    assert "did not come back" in str(taken[Kind.SCHEDULE])
    assert isinstance(taken[Kind.SCHEMA], Snapshot), "one bad kind costs the others nothing"
    assert snapshots.newest(Kind.SCHEDULE) is None


def test_a_damaged_snapshot_is_found_out_and_the_one_before_serves() -> None:
    with transaction() as session:
        first = snapshots.take(session, Kind.SCHEMA)
        second = snapshots.take(session, Kind.SCHEMA)
    second.path.write_text(second.path.read_text().replace("audit_log", "audit_lag"))
    with pytest.raises(SnapshotError, match="damaged"):
        snapshots.load(second.path)
    assert snapshots.newest(Kind.SCHEMA) == first
    second.path.write_text("{")
    assert snapshots.newest(Kind.SCHEMA) == first


def test_no_more_than_the_newest_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 3)
    with transaction() as session:
        taken = [snapshots.take(session, Kind.SCHEMA) for _ in range(5)]
    kept = sorted(taken[0].path.parent.iterdir())
    assert kept == [snapshot.path for snapshot in taken[-3:]]


def test_drift_names_what_was_and_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    planted_entry()
    with transaction() as session:
        assert snapshots.drift(session, Kind.SCHEDULE) is None
        snapshots.take_all(session)
        assert snapshots.drift(session, Kind.SCHEDULE) == {}
        beat.set_interval(session, "checks.x", 20.0)
        session.flush()
        changed = snapshots.drift(session, Kind.SCHEDULE)
        assert changed is not None
        assert json.dumps(changed).count("20.0") == 1
    monkeypatch.setenv("HOMEOSTAT_LOG_LEVEL", "DEBUG")
    forget_settings()
    with transaction() as session:
        changed = snapshots.drift(session, Kind.CONFIGURATION)
    assert changed == {"log_level": {"was": "INFO", "is": "DEBUG"}}


def test_no_password_is_written_and_a_changed_one_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEOSTAT_NOTIFY_URLS", "mailto://me:hunter2@example.org")
    forget_settings()
    with transaction() as session:
        taken = snapshots.take(session, Kind.CONFIGURATION)
        assert "hunter2" not in taken.path.read_text()
        monkeypatch.setenv("HOMEOSTAT_NOTIFY_URLS", "mailto://me:hunter3@example.org")
        forget_settings()
        changed = snapshots.drift(session, Kind.CONFIGURATION)
    assert changed is not None
    assert list(changed) == ["notify_urls"]

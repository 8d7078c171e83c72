from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from homeostat import cli
from homeostat.store import beat
from homeostat.store.beat import BeatEntry
from homeostat.store.database import transaction
from homeostat.store.trading import ModelAlias, ModelArtifact
from homeostat.supervision import snapshot_kinds, snapshots
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


def test_a_model_s_bytes_come_back_after_they_are_lost() -> None:
    planted_entry()
    with transaction() as session:
        taken = snapshots.take(session, Kind.MODELS)
        session.execute(delete(ModelAlias))
        session.execute(delete(ModelArtifact))
    assert isinstance(taken.content, dict)
    assert snapshot_kinds.artefact(taken.content["ewma"]["kept"]) == b"x"


def test_a_snapshot_whose_bytes_are_gone_does_not_come_back(tmp_path: Path) -> None:
    planted_entry()
    with transaction() as session:
        taken = snapshots.take(session, Kind.MODELS)
    (snapshot_kinds._artefacts() / taken.content["ewma"]["kept"]).unlink()
    with pytest.raises(FileNotFoundError):
        snapshot_kinds.restored_models(taken.content, tmp_path)


def test_bytes_that_no_snapshot_names_any_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 1)
    planted_entry()
    with transaction() as session:
        snapshots.take(session, Kind.MODELS)
        session.get_one(ModelArtifact, "a1").content = b"y"
        session.flush()
        second = snapshots.take(session, Kind.MODELS)
    kept = [path.read_bytes() for path in snapshot_kinds._artefacts().glob("*")]
    assert kept == [b"y"]
    assert snapshots.load(second.path) == second


def test_a_schema_comes_back_with_its_keys_and_indexes(tmp_path: Path) -> None:
    with transaction() as session:
        taken = snapshots.take(session, Kind.SCHEMA)
    words = "\n".join(taken.content.values())
    assert "CREATE UNIQUE INDEX" in words or "UNIQUE (" in words
    assert "PRIMARY KEY" in words
    assert "FOREIGN KEY" in words
    bent = {**taken.content, "audit_log": "CREATE TABLE audit_log (x TEXT)"}
    assert snapshot_kinds.restored_schema(taken.content, tmp_path) == taken.content
    (tmp_path / "schema.sqlite3").unlink()
    with pytest.raises(OperationalError):
        snapshot_kinds.restored_schema(bent, tmp_path)


TABLE = (
    "CREATE TABLE planted (id serial PRIMARY KEY, whole bigint GENERATED ALWAYS AS IDENTITY, "
    "note text DEFAULT 'a:b' CHECK (note <> '%'), twice text GENERATED ALWAYS AS (note || note) "
    "STORED, of varchar(36) REFERENCES model_artifacts (id))"
)
#: What a schema of PostgreSQL may hold, each of which must come back.
OBJECTS = {
    "function touched()": "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN NEW.note := '100 % : done'; RETURN NEW; END$$",
    "trigger planted.touch": "CREATE TRIGGER touch BEFORE UPDATE ON planted "
    "FOR EACH ROW EXECUTE FUNCTION touched()",
    "index ix_planted_note": "CREATE INDEX ix_planted_note ON planted (lower(note)) "
    "WHERE note LIKE 'a%'",
    "view shown": "CREATE VIEW shown AS SELECT note FROM planted WHERE id > 3",
}


@pytest.fixture
def planted(store: str) -> None:
    """A table with a bit of everything beside the real ones."""
    assert store == "postgresql"
    with transaction() as session:
        for words in (TABLE, *OBJECTS.values()):
            session.connection().exec_driver_sql(words.replace("%", "%%"))


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_a_schema_of_postgresql_is_made_anew_in_a_schema_of_its_own() -> None:
    with transaction() as session:
        before = session.scalars(text("SELECT nspname FROM pg_namespace")).all()
        taken = snapshots.take(session, Kind.SCHEMA)
        after = session.scalars(text("SELECT nspname FROM pg_namespace")).all()
    assert before == after, "the scratch schema is gone"
    assert {*OBJECTS, "table planted", "table audit_log", "sequence planted_id_seq"} <= {
        *taken.content
    }
    assert "REFERENCES model_artifacts(id)" in taken.content["reference planted.planted_of_fkey"]


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.parametrize("lost", [*OBJECTS, "table audit_log", "reference planted.planted_of_fkey"])
def test_a_schema_of_postgresql_that_lacks_one_object_does_not_come_back_whole(lost: str) -> None:
    with transaction() as session:
        whole = snapshot_kinds.schema(session)
    assert isinstance(whole, dict)
    less = {name: words for name, words in whole.items() if name != lost}
    try:
        back = snapshot_kinds.restored_schema(less, Path())
    except ProgrammingError:
        return  # what stands on it could not be made
    assert back != whole
    assert snapshot_kinds.restored_schema(whole, Path()) == whole


def test_the_commands_list_what_is_kept_and_show_what_differs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(*words: str) -> tuple[int, dict[str, Any]]:
        code = cli.run(["snapshot", *words, "-o", "json"])
        return code, json.loads(capsys.readouterr().out)

    planted_entry()
    assert said("drift") == (1, dict.fromkeys(Kind)), "nothing was taken, so nothing is known"
    with transaction() as session:
        snapshots.take_all(session)
    assert said("drift") == (0, {kind: {} for kind in Kind})
    code, listed = said("list")
    assert (code, {row["kind"] for row in listed["snapshots"]}) == (0, set(Kind))
    with transaction() as session:
        beat.set_interval(session, "checks.x", 20.0)
    code, differs = said("drift", "schedule")
    assert (code, differs["schedule"]["checks.x"]["is"]["interval_s"]) == (1, 20.0)
    assert cli.run(["snapshot", "drift"]) == 1
    assert '"interval_s": 20.0' in " ".join(capsys.readouterr().out.split())

from __future__ import annotations

import io
import json
import logging
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import select

from homeostat import cli, registry
from homeostat.clock import utcnow
from homeostat.incidents import redaction, views
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.kernels.secret_manager import KEY_FILE, SecretError, SecretManager
from homeostat.settings import settings
from homeostat.store import database
from homeostat.store.audit import AuditRow
from tests.waiting import wait_until

VALUE = "correct-horse-battery-staple"


@pytest.fixture
def manager(sqlite_store: str) -> SecretManager:
    del sqlite_store
    found = registry.find("kernels.secret_manager")
    assert isinstance(found, SecretManager)
    return found


def store(manager: SecretManager, name: str = "exchange", value: str = VALUE) -> None:
    with database.transaction() as session:
        manager.store(session, name, value, actor="anna")


def retrieve(manager: SecretManager, name: str = "exchange") -> str:
    with database.transaction() as session:
        return manager.resolve(session, f"secret://{name}", actor="bob")


def test_nothing_stands_in_clear_on_disk_and_the_key_file_is_the_owners_alone(
    manager: SecretManager,
) -> None:
    store(manager)
    assert retrieve(manager) == VALUE
    for path in settings().state_dir.rglob("*"):
        if path.is_file():
            assert VALUE.encode() not in path.read_bytes(), path
    key_file = settings().state_dir / KEY_FILE
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key_file.chmod(0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        retrieve(manager)


def test_every_access_is_in_the_audit_log_without_the_value(manager: SecretManager) -> None:
    store(manager)
    retrieve(manager)
    with database.transaction() as session:
        manager.revoke(session, "exchange", actor="anna")
    with database.transaction() as session, pytest.raises(SecretError):
        manager.retrieve(session, "exchange", actor="eve")
    with database.reading() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.sequence)).all()
    assert [(row.actor, row.action) for row in rows] == [
        ("anna", "secret.store"),
        ("bob", "secret.retrieve"),
        ("anna", "secret.revoke"),
        ("eve", "secret.refused"),
    ]
    assert all(VALUE not in row.payload for row in rows)


@contextmanager
def under_load(read: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Read again and again from two threads meanwhile; gives what a read raised."""
    stop, raised, reads = threading.Event(), [], [0]

    def go_on() -> None:
        try:
            # SQLite hands its lock to whoever asks next, so a writer needs a gap to come in.
            while not stop.wait(0.01):
                read()
                reads[0] += 1
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            raised.append(error)

    readers = [threading.Thread(target=go_on) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        yield raised
        wait_until(lambda: reads[0] > 0 or raised, "something was read meanwhile")
    finally:
        stop.set()
        for reader in readers:
            reader.join(60)


def test_the_key_rotates_under_load_and_every_read_succeeds(manager: SecretManager) -> None:
    for number in range(5):
        store(manager, f"s{number}", f"{VALUE}-{number}")
    keys = (settings().state_dir / KEY_FILE).read_bytes()

    def read() -> None:
        for number in range(5):
            assert retrieve(manager, f"s{number}") == f"{VALUE}-{number}"

    with under_load(read) as raised:
        for _ in range(3):
            with database.transaction() as session:
                assert manager.rotate_key(session, actor="anna") == 5
    assert raised == []
    assert keys not in (settings().state_dir / KEY_FILE).read_bytes()
    assert [retrieve(manager, f"s{n}") for n in range(5)] == [f"{VALUE}-{n}" for n in range(5)]


def test_a_value_rotates_under_load_and_no_reader_ever_gets_an_older_one(
    manager: SecretManager,
) -> None:
    store(manager, value=f"{VALUE}-0")
    seen: defaultdict[int, list[int]] = defaultdict(list)

    def read() -> None:
        seen[threading.get_ident()].append(int(retrieve(manager).rpartition("-")[2]))

    def was_read(number: int) -> bool:
        return any(number in got for got in [*seen.values()])

    with under_load(read) as raised:
        for number in range(1, 8):
            with database.transaction() as session:
                manager.rotate(session, "exchange", f"{VALUE}-{number}", actor="anna")
            # A reader sees each of them before the next one comes.
            wait_until(partial(was_read, number), "a reader sees the new value")
    assert raised == []
    assert all(got == sorted(got) for got in seen.values())


def test_a_rotation_that_is_rolled_back_loses_no_secret(manager: SecretManager) -> None:
    store(manager)
    with pytest.raises(RuntimeError), database.transaction() as session:  # noqa: PT012  # work, then fail
        manager.rotate_key(session, actor="anna")
        raise RuntimeError
    assert retrieve(manager) == VALUE


def test_a_new_value_revokes_the_old_one(manager: SecretManager) -> None:
    store(manager)
    with database.transaction() as session:
        assert manager.rotate(session, "exchange", VALUE + "2", actor="anna") == 2
    assert retrieve(manager) == VALUE + "2"
    with database.reading() as session:
        assert manager.list(session) == {"exchange": {"version": 2, "revoked": False}}


def test_a_value_that_was_written_in_clear_is_found_by_the_scan(manager: SecretManager) -> None:
    store(manager)
    leaked = settings().state_dir / "logs" / "worker.log"
    leaked.parent.mkdir()
    leaked.write_text(f"connecting with {VALUE}\n")
    with database.transaction() as session, pytest.raises(SecretError, match=r"worker\.log"):
        manager.run(session, utcnow())
    leaked.unlink()
    with database.transaction() as session:
        assert manager.run(session, utcnow()).observed == {"secrets": 1, "leaks": 0}


def test_the_wrong_key_is_one_clear_sentence(
    manager: SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(manager)
    from cryptography.fernet import Fernet

    monkeypatch.setenv("HOMEOSTAT_SECRETS_KEY", Fernet.generate_key().decode())
    settings.cache_clear()
    registry.find.cache_clear()
    other = registry.find("kernels.secret_manager")
    assert isinstance(other, SecretManager)
    with pytest.raises(SecretError, match="cannot be decrypted"):
        retrieve(other)


def use(settings_value: str, url: str) -> None:
    opaque = [settings_value, url.encode()]
    raise ConnectionError(f"{url} refused {opaque[0]!r}")


def test_a_retrieved_value_stands_in_no_bundle(manager: SecretManager) -> None:
    store(manager)
    redaction._values.discard(VALUE)
    value = retrieve(manager)
    try:
        use(value, f"https://api.lan/x?page={value}")
    except ConnectionError as error:
        failure = Failure.from_exception(error, source="task", component="shop")
    logging.getLogger("shop").warning("refused with %s", value)
    with database.transaction() as session:
        incident = report(session, failure)
    with database.reading() as session:
        shown = json.dumps(views.incident(session, incident.id))
    assert VALUE not in shown
    assert VALUE.encode().hex() not in shown
    assert "refused" in shown


def test_the_command_line_stores_lists_and_revokes_without_showing_a_value(
    manager: SecretManager, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, value in enumerate((VALUE, "another-long-value"), start=1):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{value}\n"))
        assert cli.run(["secret", "set", "exchange"]) == 0
        assert f"version {version}" in capsys.readouterr().out
        assert retrieve(manager) == value
    assert cli.run(["secret", "rotate-key"]) == 0
    assert retrieve(manager) == "another-long-value"
    assert cli.run(["secret", "revoke", "exchange"]) == 0
    assert cli.run(["secret", "list", "-o", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out[said.out.index("{") :]) == {
        "secrets": {"exchange": {"version": 2, "revoked": True}}
    }
    assert not any(value in said.out + said.err for value in (VALUE, "another-long-value"))


def test_an_unknown_secret_is_one_sentence(
    manager: SecretManager, capsys: pytest.CaptureFixture[str]
) -> None:
    del manager
    assert cli.run(["secret", "revoke", "nobody"]) == 1
    assert capsys.readouterr().err == "homeostat: No secret is named 'nobody'.\n"

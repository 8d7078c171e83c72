"""Settings: defaults that need no server, and refusals in one sentence."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from homeostat.errors import SettingsError, StateFolderError
from homeostat.settings import Settings, load_settings


def test_the_defaults_need_no_server(state_dir: Path) -> None:
    found = load_settings()

    assert found.database == f"sqlite:///{state_dir}/homeostat.sqlite3"
    assert found.broker == f"redis+socket://{found.redis_socket}"
    assert found.embeds_redis


def test_an_unknown_variable_is_refused_with_the_known_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_BROKER_UTL", "redis://localhost")

    with pytest.raises(SettingsError, match=r"HOMEOSTAT_BROKER_UTL.*HOMEOSTAT_BROKER_URL"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODE", "SOMETIMES"),
        ("API_PORT", "70000"),
        ("API_PORT", "http"),
        ("RECOVERY", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("BROKER_URL", "nonsense"),
        ("BROKER_URL", "http://me:s3cret@h"),
        ("BROKER_URL", "redis://:s3cret@h:abc/0"),
        ("BROKER_URL", "redis://h:70000/0"),
        ("REDIS_URL", "amqp://me:s3cret@h"),
    ],
)
def test_a_malformed_value_is_refused_by_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"HOMEOSTAT_{variable}", value)

    with pytest.raises(SettingsError, match=f"HOMEOSTAT_{variable}") as refusal:
        load_settings()

    assert "\n" not in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BROKER_URL", "sentinel://a:26379;sentinel://b:26379"),
        ("BROKER_URL", "redis+socket:///run/redis.sock"),
        ("BROKER_URL", "amqps://me:s3cret@h/v"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("LOG_LEVEL", "warning"),
    ],
)
def test_what_a_server_s_client_reads_is_taken(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"HOMEOSTAT_{variable}", value)

    found = getattr(load_settings(), variable.lower())

    assert str(found).lower() == value.lower()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_plain_postgresql_url_gets_the_driver_that_is_installed(scheme: str) -> None:
    found = Settings(database_url=f"{scheme}://me@db/homeostat")

    assert found.database == "postgresql+psycopg://me@db/homeostat"


def test_a_redis_broker_serves_the_bus_too_and_rabbitmq_does_not() -> None:
    assert Settings(broker_url="redis://h:1/0").redis == "redis://h:1/0"
    assert not Settings(broker_url="redis://h:1/0").embeds_redis
    assert Settings(broker_url="amqp://guest@h//").embeds_redis


def test_a_state_folder_too_deep_for_a_socket_gets_a_short_stand_in(tmp_path: Path) -> None:
    deep = Settings(state_dir=tmp_path / ("d" * 120))

    assert len(str(deep.redis_socket)) <= 107
    assert deep.redis_socket == Settings(state_dir=deep.state_dir).redis_socket


def test_a_state_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StateFolderError, match="HOMEOSTAT_STATE_DIR"):
        Settings(state_dir=tmp_path / "file" / "var").ensure_state_dir()


def _key(state_dir: Path) -> bytes:
    return Settings(state_dir=state_dir).secret_key()


def test_processes_that_race_for_the_key_all_read_the_same_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(_key, [tmp_path / "var"] * 16)

    assert len(set(keys)) == 1
    assert len(keys[0]) == 64
    assert (tmp_path / "var" / "secret.key").stat().st_mode & 0o777 == 0o600

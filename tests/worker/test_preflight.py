"""A server that is not there is named before anything is started, and its password is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homeostat.errors import (
    BrokerUnavailableError,
    HomeostatError,
    SettingsError,
    StoreUnavailableError,
)
from homeostat.settings import Settings
from homeostat.store import redis
from tests.conftest import forget_settings
from workers import preflight

NOBODY = "127.0.0.1:9"


@contextmanager
def server(*, deaf: bool = False) -> Iterator[str]:
    """Give the address of a server; a deaf one takes no connection and refuses none."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0 if deaf else 5)
        waiting = []
        for _ in range(2 if deaf else 0):
            # Once its queue is full, the kernel leaves who knocks next without an answer.
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(listening.getsockname())
            waiting.append(caller)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        for caller in waiting:
            caller.close()


def named(tmp_path: Path, **urls: str) -> Settings:
    return Settings.model_validate({"state_dir": tmp_path, **urls})


@pytest.mark.parametrize(
    ("field", "url", "error"),
    [
        ("broker_url", "amqp://ann:s3cret@{}//", BrokerUnavailableError),
        ("broker_url", "redis://:s3cret@{}/0", BrokerUnavailableError),
        ("redis_url", "redis://:s3cret@{}/0", BrokerUnavailableError),
        ("database_url", "postgresql+psycopg://ann:s3cret@{}/x", StoreUnavailableError),
    ],
)
def test_a_server_that_is_not_there_is_named_without_its_password(
    tmp_path: Path, field: str, url: str, error: type[HomeostatError]
) -> None:
    with pytest.raises(error, match="does not answer") as refused:
        preflight.require_servers(named(tmp_path, **{field: url.format(NOBODY)}))
    assert NOBODY in str(refused.value)
    assert f"HOMEOSTAT_{field.upper()}" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_server_that_leaves_one_without_an_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "PATIENCE_S", 0.2)
    with server(deaf=True) as address, pytest.raises(BrokerUnavailableError, match=address):
        preflight.require_servers(named(tmp_path, broker_url=f"redis://{address}/0"))


def test_of_several_servers_the_missing_one_is_named(tmp_path: Path) -> None:
    with server() as there, pytest.raises(StoreUnavailableError, match=NOBODY):
        preflight.require_servers(
            named(tmp_path, broker_url=f"amqp://{there}", database_url=f"postgresql://{NOBODY}/x")
        )


def test_what_is_there_or_has_no_one_address_is_left_to_its_client(tmp_path: Path) -> None:
    preflight.require_servers(named(tmp_path))
    with server() as there:
        preflight.require_servers(
            named(
                tmp_path,
                broker_url=f"sentinel://{NOBODY};sentinel://{there}",
                redis_url=f"redis://{there}",
                database_url="postgresql:///x?host=/var/run/postgresql",
            )
        )


@pytest.mark.parametrize("field", ["repository", "market_data", "policy_file"])
def test_a_file_that_is_named_and_not_there_is_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(SettingsError, match=f"HOMEOSTAT_{field.upper()} names .*gone"):
        preflight.require_paths(named(tmp_path, **{field: str(tmp_path / "gone")}))
    preflight.require_paths(named(tmp_path, **{field: str(tmp_path)}))


def test_a_redis_server_that_goes_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOMEOSTAT_REDIS_URL", f"redis://ann:s3cret@{NOBODY}/0")
    forget_settings()
    with pytest.raises(BrokerUnavailableError, match=NOBODY) as refused, redis.unavailable_named():
        redis.client().ping()
    assert "s3cret" not in str(refused.value)

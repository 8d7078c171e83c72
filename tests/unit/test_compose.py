"""docker-compose.yml against the queues: it cannot be run here, so what it says is compared."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from homeostat.settings import Settings
from workers import queues
from workers.config import celery_settings
from workers.processes import processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def consumed(command: list[str]) -> list[str]:
    return command[command.index("--queues") + 1].split(",")


def test_every_queue_has_exactly_one_worker(services: dict[str, Any]) -> None:
    workers = [s["command"] for s in services.values() if "--queues" in s.get("command", ())]
    everything = sorted(queue for command in workers for queue in consumed(command))
    assert everything == sorted(queues.ALL_QUEUES)


def test_the_fix_worker_takes_nothing_else(services: dict[str, Any]) -> None:
    assert consumed(services["fix_worker"]["command"]) == [queues.FIX_ANALYSIS]


def test_it_runs_the_same_processes_as_the_embedded_stack(services: dict[str, Any]) -> None:
    embedded = {process.name for process in processes(Settings())}
    # Docker supervises in the observer's place, and PostgreSQL stands for SQLite.
    assert set(services) == (embedded - {"observer"}) | {"postgres"}


def test_the_workers_commands_are_those_of_the_embedded_stack(services: dict[str, Any]) -> None:
    table = {process.name: process for process in processes(Settings())}
    for name in ("worker", "fix_worker"):
        embedded = [word for word in table[name].arguments if word not in {"--loglevel", "INFO"}]
        assert services[name]["command"] == ["celery", *embedded], shlex.join(embedded)


def test_nothing_is_published_beyond_this_host(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_its_settings_are_known_and_reach_celery(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = services["worker"]["environment"]
    fields = {name.removeprefix("HOMEOSTAT_").lower(): value for name, value in environment.items()}
    assert set(fields) <= set(Settings.model_fields)
    for name, value in environment.items():
        # Compose puts the variable of the person who starts it here.
        monkeypatch.setenv(name, re.sub(r"\$\{[^}]*\}", "chosen", value))
    chosen = Settings()
    assert not chosen.embeds_redis
    assert celery_settings(chosen)["broker_url"].startswith("redis://")


def test_there_is_one_beat(services: dict[str, Any]) -> None:
    beats = [s for s in services.values() if "beat" in s.get("command", ())]
    assert len(beats) == 1
    assert "deploy" not in beats[0]

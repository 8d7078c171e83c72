"""From a failing task to the worker that runs the mended code, on a stack of its own.

`python -m benchmarks.live_repair --json` starts the stack and a user's worker with `attach`, lets
a task fail, and reads from the store when each step was: first with a patch that has to be found
and proven, then, after the same defect is merged again, with the fix that is known. Seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import TimeoutError as NoAnswerError
from sqlalchemy import text

from benchmarks.stack import wait_for
from homeostat.settings import Settings
from homeostat.store.database import make_engine
from homeostat.store.embedded import EmbeddedServer

_APP = """import os
from celery import Celery
from homeostat.integrations.celery import attach
from prices import total

app = Celery("till", broker=os.environ["TILL_BROKER"], backend=os.environ["TILL_BROKER"])
app.conf.task_default_queue = "till"
attach(app)


@app.task(name="till.receipt")
def receipt(prices):
    return total(prices)
"""
_BROKEN = '''def total(prices):
    """Add prices up, to the cent."""
    return round(math.fsum(prices), 2)
'''
_TEST = "from prices import total\n\n\ndef test_total():\n    assert total([1, 2.5]) == 3.5\n"
_STEPS = text(
    "SELECT t.to_state, t.at FROM incident_timeline t JOIN repairs r "
    "ON r.incident_id = t.incident_id WHERE r.id = :id AND t.to_state IS NOT NULL"
)


def _git(repository: Path, *words: str) -> None:
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)


def _lay_out(repository: Path) -> None:
    (repository / "tests").mkdir(parents=True)
    (repository / "till.py").write_text(_APP)
    (repository / "prices.py").write_text(_BROKEN)
    (repository / "conftest.py").write_text("")
    (repository / "tests/test_prices.py").write_text(_TEST)
    (repository / ".gitignore").write_text("__pycache__/\n")
    _git(repository, "init", "-q")
    _git(repository, "add", "-A")
    _git(repository, "commit", "-q", "-m", "A till")


@contextmanager
def _worker(repository: Path, env: dict[str, str]) -> Iterator[None]:
    words = ["-A", "till", "worker", "-c", "2", "-l", "WARNING", "--without-mingle"]
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", *words], cwd=repository, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _stack(env: dict[str, str]) -> Iterator[None]:
    homeostat = [sys.executable, "-m", "homeostat.cli"]
    subprocess.run([*homeostat, "up", "--detach"], env=env, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*homeostat, "down"], env=env, check=True, capture_output=True)


def _round(client: Celery, settings: Settings, number: int) -> dict[str, Any]:
    """Let the task fail until it does not, and return when each step was."""

    def sold() -> bool:
        try:
            answer = client.send_task("till.receipt", ([1, 2.5],)).get(timeout=20, propagate=False)
        except NoAnswerError:
            return False
        return bool(answer == 3.5)

    engine = make_engine(settings.database).execution_options(reading=True)

    def ended() -> dict[str, Any] | None:
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT id, watch, outcome FROM repairs ORDER BY created_at")
            ).all()
        found = [(row.id, json.loads(row.watch), json.loads(row.outcome)) for row in rows]
        if len(found) < number or "ended" not in found[number - 1][1]:
            return None
        name, watch, outcome = found[number - 1]
        return {"id": name, "watch": watch, "outcome": outcome}

    wait_for(lambda: client.control.ping(timeout=0.5), "the worker's answer")
    if sold():
        raise RuntimeError("The worker does not run the broken code.")
    wait_for(sold, "the mended code", 180)
    wait_for(ended, "the end of the watch", 180)
    repair = ended() or {}
    with engine.connect() as connection:
        steps = [
            (row.to_state, _moment(row.at))
            for row in connection.execute(_STEPS, {"id": repair["id"]})
        ]
    engine.dispose()
    opened = max(at for state, at in steps if state == "open")
    resolved = max(at for state, at in steps if state == "resolved")
    landed = _moment(repair["watch"]["landed_at"])
    taken_up = min(_moment(one["at"]) for one in repair["watch"]["taken_up"])
    return {
        "from_knowledge": repair["outcome"]["from_knowledge"],
        "search_and_proof_s": repair["outcome"]["seconds"],
        "failure_to_commit_s": (landed - opened).total_seconds(),
        "commit_to_new_code_s": (taken_up - landed).total_seconds(),
        "failure_to_resolved_s": (resolved - opened).total_seconds(),
        "stood_because": repair["watch"]["ended"]["why"],
    }


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(str(written)).replace(tzinfo=None)


def measure(rounds: int) -> list[dict[str, Any]]:
    """Return what each round took; the first has to find its patch."""
    with tempfile.TemporaryDirectory(prefix="homeostat-bench-") as scratch:
        folder = Path(scratch)
        repository, broker = folder / "till", Settings(state_dir=folder / "broker")
        _lay_out(repository)
        kept = {name: v for name, v in os.environ.items() if not name.startswith("HOMEOSTAT_")}
        env = {
            **kept,
            "HOMEOSTAT_STATE_DIR": str(folder / "var"),
            "TILL_BROKER": broker.broker,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        client = Celery("client", broker=broker.broker, backend=broker.broker)
        client.conf.task_default_queue = "till"
        found = []
        with EmbeddedServer(broker), _stack({**env, "HOMEOSTAT_REPOSITORY": str(repository)}):
            for number in range(1, rounds + 1):
                if number > 1:
                    (repository / "prices.py").write_text(_BROKEN)
                    _git(repository, "commit", "-q", "-am", "A careless merge")
                with _worker(repository, env):
                    found.append(_round(client, Settings(state_dir=folder / "var"), number))
        client.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=2, help="at most 3: the budget of a signature"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rounds = measure(given.rounds)
    if given.json:
        print(json.dumps({"rounds": rounds}, indent=2))
        return
    for row in rounds:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()

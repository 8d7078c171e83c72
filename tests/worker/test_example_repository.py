"""The how-to of a user's own repository, followed from a fresh clone of the example."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as NoAnswerError

from homeostat.repair.sandbox import Isolation, detect_isolation
from homeostat.settings import Settings
from homeostat.store.embedded import EmbeddedServer
from tests.component.repair.conftest import git
from tests.running_stack import environment, homeostat, running
from tests.waiting import wait_until
from tests.worker.rig import user_worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
    ),
]

ROOT = Path(__file__).parents[2]
COMMAND = "python -m pytest -x tests/test_prices.py"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of the example's repository."""
    laid_out = tmp_path / "laid-out"
    subprocess.run([str(ROOT / "examples/celery_app/lay_out.sh"), str(laid_out)], check=True)
    git(tmp_path, "clone", "-q", str(laid_out), "shop")
    return tmp_path / "shop"


@pytest.fixture
def shop(clone: Path, tmp_path: Path) -> Iterator[Celery]:
    """The stack that may mend the clone, and the clone's worker; gives a client of the shop."""
    own = Settings(state_dir=tmp_path / "broker")
    client = Celery("client", broker=own.broker, backend=own.broker)
    client.conf.task_default_queue = "shop"
    state = tmp_path / "var"
    env = environment(
        state, SHOP_BROKER_URL=own.broker, SHOP_RESULT_URL=own.broker, PYTHONPATH=str(ROOT)
    )
    with (
        EmbeddedServer(own),
        running(state, HOMEOSTAT_REPOSITORY=str(clone)),
        user_worker("shop", clone, log=tmp_path / "worker.log", env=env),
    ):
        wait_until(lambda: client.control.ping(timeout=0.5), "the worker answers", 60)
        yield client
    client.close()


def receipt(client: Celery) -> object:
    """Ask for a receipt; return the sum, or None where the task failed or nobody answered."""
    try:
        answer = client.send_task("shop.receipt", ([10, 30],)).get(timeout=20, propagate=False)
    except NoAnswerError:
        return None
    return answer if isinstance(answer, float) else None


def test_by_hand_a_patch_is_proven_and_the_checkout_untouched(clone: Path, tmp_path: Path) -> None:
    words = ("fix", "run", "--repository", str(clone), "--command", COMMAND)
    done = homeostat(*words, env=environment(tmp_path / "state"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+def total(prices: Iterable[float], discount: float = 0.0)" in done.stdout
    assert git(clone, "log", "-1", "--format=%s") == "Say rebate instead of discount"
    assert git(clone, "status", "--porcelain") == ""


def test_by_itself_the_failing_task_is_fixed_on_its_first_run(clone: Path, shop: Celery) -> None:
    assert receipt(shop) is None
    wait_until(lambda: receipt(shop) == 40.0, "the same worker runs the mended code", 120)
    assert "discount: float" in (clone / "prices.py").read_text()
    assert git(clone, "rev-list", "--count", "HEAD") == "3"
    assert "Homeostat-Repair:" in git(clone, "log", "-1", "--format=%b")

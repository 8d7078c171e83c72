"""A sandbox that waits for its order: it does what a new one does, and shares nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from homeostat.repair.sandbox import Isolation, Limits, Run, Sandbox, detect_isolation
from homeostat.repair.sandbox.interpreter import inspect_interpreter
from tests.component.repair.conftest import write
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

TEST = "from shop import price\n\ndef test_price():\n    assert price() == 3\n"
PLAIN = {"PYTEST_ADDOPTS": "--assert=plain -p no:cacheprovider"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    repository = tmp_path / "repository"
    write(repository, {"shop.py": "def price():\n    return 2\n", "test_shop.py": TEST})
    return Sandbox(repository, repository, inspect_interpreter(Path(sys.executable)), Limits())


def order(
    sandbox: Sandbox,
    *words: str,
    changes: Mapping[str, str | None] | None = None,
    env: Mapping[str, str] | None = None,
    wall_s: float = 30.0,
) -> Run:
    ready = sandbox.ready({})
    assert ready is not None
    command = [str(sandbox.interpreter.executable), *words]
    return sandbox.run_ready(ready, command, changes or {}, PLAIN | dict(env or {}), wall_s)


PYTEST = ("-m", "pytest", "-q", "-s", "test_shop.py")
#: A test that shows whether its interpreter is the one that waited.
WAITED = (
    "import os\n\ndef test_it():\n"
    "    words = open('/proc/self/cmdline').read()\n"
    "    print('waited' if 'homeostat_ready' in words else 'anew', os.environ.get('SHOP', ''))\n"
)


def test_the_patch_that_comes_with_the_order_is_what_is_tested(sandbox: Sandbox) -> None:
    assert order(sandbox, *PYTEST).returncode == 1
    mended = {"shop.py": "def price():\n    return 3\n"}
    assert order(sandbox, *PYTEST, changes=mended).returncode == 0
    assert order(sandbox, *PYTEST, changes={"test_shop.py": None}).returncode == 4


def test_pytest_runs_in_the_interpreter_that_waited(sandbox: Sandbox) -> None:
    assert "waited" in order(sandbox, *PYTEST, changes={"test_shop.py": WAITED}).stdout


@pytest.mark.parametrize(
    "env",
    [{"SHOP": "open"}, {"PYTHONPATH": "elsewhere"}, {"PYTEST_ADDOPTS": "-p no:cacheprovider"}],
    ids=["a variable", "a path", "rewritten assertions"],
)
def test_what_an_interpreter_reads_at_its_start_gets_a_new_one(
    sandbox: Sandbox, env: dict[str, str]
) -> None:
    seen = order(sandbox, *PYTEST, changes={"test_shop.py": WAITED}, env=env)
    assert f"anew {env.get('SHOP', '')}" in seen.stdout, seen.output


def test_another_command_is_carried_out_as_well(sandbox: Sandbox) -> None:
    seen = order(sandbox, "-c", "import shop; print(shop.price())")
    assert (seen.returncode, seen.stdout) == (0, "2\n")


@pytest.mark.parametrize("name", ["iniconfig.py", "iniconfig/__init__.py"])
def test_a_module_of_the_target_that_pytest_imports_too_is_the_targets(
    sandbox: Sandbox, name: str
) -> None:
    # A module of the same name, as in the package's own repository.
    mine = "class IniConfig: ...\nclass SectionWrapper: ...\nclass ParseError(Exception): ...\n"
    test = "import iniconfig\n\ndef test_it():\n    print('from', iniconfig.__file__)\n"
    seen = order(sandbox, *PYTEST, changes={name: mine, "test_shop.py": test})
    assert f"from {sandbox.repository / name}" in seen.stdout, seen.output


def test_nothing_of_the_target_runs_before_the_order(sandbox: Sandbox) -> None:
    left = "import pathlib\npathlib.Path('/tmp/ran').touch()\n"
    (sandbox.repository / "iniconfig.py").write_text(left)
    (sandbox.repository / "conftest.py").write_text(left)
    look = "import os; print(os.path.exists('/tmp/ran'), os.path.exists('iniconfig.py'))"
    assert order(sandbox, "-c", look).stdout == "False True\n"


def test_two_that_wait_at_once_share_nothing(sandbox: Sandbox) -> None:
    first, second = sandbox.ready({}), sandbox.ready({})
    assert first is not None
    assert second is not None
    python = str(sandbox.interpreter.executable)
    write_ = "import os; open('left', 'w'); open('/tmp/left', 'w'); print(os.getuid())"
    look = "import os; print(os.getuid(), os.path.exists('left'), os.path.exists('/tmp/left'))"
    one = sandbox.run_ready(first, [python, "-c", write_], {}, {}, 30).stdout.strip()
    other, *found = sandbox.run_ready(second, [python, "-c", look], {}, {}, 30).stdout.split()
    assert found == ["False", "False"]
    assert not (sandbox.repository / "left").exists()
    assert (one != other) is (sandbox_is_roots())


def sandbox_is_roots() -> bool:
    """Root gives each run a user of its own; another user cannot."""
    return psutil.Process().uids().effective == 0


def test_its_time_counts_from_the_order_and_is_bounded(sandbox: Sandbox) -> None:
    seen = order(sandbox, "-c", "import time; time.sleep(600)", wall_s=0.5)
    assert "time limit" in (seen.stopped or "")


def test_one_that_is_not_wanted_ends_and_leaves_nothing(sandbox: Sandbox) -> None:
    before = set(psutil.Process().children(recursive=True))
    ready = sandbox.ready({})
    assert ready is not None
    assert set(psutil.Process().children(recursive=True)) - before
    ready.close()
    wait_until(
        lambda: not set(psutil.Process().children(recursive=True)) - before, "it has ended", 5
    )

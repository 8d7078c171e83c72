from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from homeostat.chaos import rollback, watchdog
from homeostat.chaos.ground import Ground
from homeostat.chaos.rollback import PLAN, Remove, Resume, Start, Undo
from homeostat.settings import settings
from tests.waiting import wait_until

#: A runner that arms the watchdog, says so, and never comes to its own rollback.
RUNNER = """
import sys, time
from pathlib import Path
from homeostat.chaos import watchdog
from homeostat.chaos.ground import Ground
from homeostat.chaos.rollback import Remove
from homeostat.settings import settings
with watchdog.armed([Remove(path=Path(sys.argv[1]))], Ground(settings()), deadline_s=60):
    print("armed", flush=True)
    time.sleep(60)
"""


def a_file(name: str) -> Path:
    path = settings().ensure_state_dir() / name
    path.touch()
    return path


def test_the_rollback_survives_the_kill_of_the_runner() -> None:
    path = a_file("fault")
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, str(path)], stdout=subprocess.PIPE)
    assert runner.stdout is not None
    assert runner.stdout.readline() == b"armed\n"
    assert path.exists()
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    runner.stdout.close()
    wait_until(lambda: not path.exists(), "the watchdog went the way back")


def test_the_rollback_is_gone_where_the_deadline_passes() -> None:
    path = a_file("fault")
    with watchdog.armed([Remove(path=path)], Ground(settings()), deadline_s=0.2):
        wait_until(lambda: not path.exists(), "the watchdog went the way back by itself")


def test_the_runner_goes_the_way_back_at_the_end_of_the_block() -> None:
    path = a_file("fault")
    with watchdog.armed([Remove(path=path)], Ground(settings()), deadline_s=60):
        assert path.exists()
    assert not path.exists()


def test_one_step_that_fails_does_not_hold_up_the_next() -> None:
    path = a_file("fault")
    steps: list[Undo] = [
        Start(process="nobody"),
        Resume(pid=os.getpid(), created=0.0),
        Remove(path=path),
    ]
    (problem,) = rollback.carry_out(steps, Ground(settings()))
    assert problem.startswith("start: ProcessControlError")
    assert not path.exists()


def test_what_went_wrong_on_the_way_back_is_told() -> None:
    with watchdog.armed([Start(process="nobody")], Ground(settings()), deadline_s=60) as problems:
        assert problems == []
    assert [problem.partition(":")[0] for problem in problems] == ["start"]


def test_nothing_outside_the_state_folder_is_removed(tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.touch()
    rollback.carry_out([Remove(path=outside)], Ground(settings()))
    assert outside.exists()


def test_a_plan_comes_through_json_whole() -> None:
    plan: list[Undo] = [Start(process="redis"), Resume(pid=7, created=1.5), Remove(path=Path("/x"))]
    assert PLAN.validate_json(PLAN.dump_json(plan)) == plan

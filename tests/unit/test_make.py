"""`make test` runs everything, and once more only what a whole run found failing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Writes down what it was asked, and ends with the next of the planned exit codes.
PYTHON = """#!/bin/sh
echo "$@" >> "$ASKED"
code=$(head -n 1 "$CODES")
sed -i 1d "$CODES"
exit "${code:-0}"
"""
#: How make tells its recipes what it was asked.
OF_MAKE = frozenset({"AGAIN", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"})

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def made(tmp_path: Path, codes: list[int], *words: str) -> tuple[int, list[str]]:
    """Run `make test` with a Python that ends so; return its exit code and what was asked."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / "ready").touch()
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    (tmp_path / "asked").touch()
    # What a make around this test was asked is none of the inner one's business.
    kept = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    env = {**kept, "ASKED": str(tmp_path / "asked"), "CODES": str(tmp_path / "codes")}
    command = ["make", "test", f"BIN={tmp_path}", f"READY={tmp_path / 'ready'}", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, timeout=60)
    return done.returncode, (tmp_path / "asked").read_text().splitlines()


def test_both_halves_run_and_what_failed_runs_again_within_its_half(tmp_path: Path) -> None:
    code, asked = made(tmp_path, [1, 0, 1, 0], "AGAIN=yes")
    assert code == 0
    halves = ["--last-failed" in line for line in asked]
    assert halves == [False, True, False, True]
    assert ["tests/worker" in line for line in asked] == [False, False, True, True]


@pytest.mark.parametrize(
    ("codes", "words", "runs"),
    [
        ([1], (), 1),
        ([1, 1], ("AGAIN=yes",), 2),
        ([0, 3], ("AGAIN=yes",), 2),
        ([139], ("AGAIN=yes",), 1),
        ([1, 5], ("AGAIN=yes",), 2),
    ],
    ids=["not asked for", "fails twice", "breaks off", "crashes", "nothing is left to run"],
)
def test_it_is_no_success_where(
    tmp_path: Path, codes: list[int], words: tuple[str, ...], runs: int
) -> None:
    code, asked = made(tmp_path, codes, *words)
    assert code != 0
    assert len(asked) == runs
